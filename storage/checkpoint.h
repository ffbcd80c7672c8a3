#ifndef FIXPOOL_STORAGE_CHECKPOINT_H_
#define FIXPOOL_STORAGE_CHECKPOINT_H_

#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/lsn.h"

namespace fixpool::storage {

// What concerns the durability of all files of a cache: PageCache::FlushAll, Checkpoint and
// OldestDirtyLsn, where the errors are told. All may be called by any thread.
absl::Status FlushAllFiles(CacheState& state, io::Deadline deadline)
    ABSL_LOCKS_EXCLUDED(state.mutex);
absl::Status CheckpointAllFiles(CacheState& state, Lsn up_to, io::Deadline deadline)
    ABSL_LOCKS_EXCLUDED(state.mutex);
std::optional<Lsn> OldestDirtyLsn(CacheState& state) ABSL_LOCKS_EXCLUDED(state.mutex);

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_CHECKPOINT_H_
