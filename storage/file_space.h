#ifndef FIXPOOL_STORAGE_FILE_SPACE_H_
#define FIXPOOL_STORAGE_FILE_SPACE_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/file_options.h"
#include "fixpool/storage/page_id.h"

namespace fixpool::storage {

// What a file consists of, changed while others use it: PageCache::Allocate, FreePages and
// Truncate, where the errors are told.
//
//   absl::StatusOr<PageNumber> first = AllocatePages(state, file, 256, options);
//   absl::Status status = FreeFilePages(state, file, *first + 128, 128, options);
//   status = TruncateFile(state, file, *first, options);
//
// Each in the same order. It waits for its turn (FileChanges) and closes the range that it is about
// to all others: who looks for a page of it waits, nothing reads ahead into it, and of its pages in
// memory, whose words are guarded from then on, none is written, moved or latched. If one of them
// is held or waited for, that is the end of it, and nothing has changed. It waits for the transfers
// of these pages that are in flight, and has the log made durable as far as it tells of the change.
// Then the file is changed, without the lock; if that fails, the pages are still there as they
// were. If not, they are dropped, and the range is opened.
// What is looked at without a latch (OptimisticGuard) shows what a page held until it is dropped.
//
// All of them block in system calls and wait for transfers, without the lock. Allocate memory.
absl::StatusOr<PageNumber> AllocatePages(CacheState& state, FileId file, uint64_t pages,
                                         const SpaceOptions& options)
    ABSL_LOCKS_EXCLUDED(state.mutex);
absl::Status FreeFilePages(CacheState& state, FileId file, PageNumber first, uint64_t count,
                           const SpaceOptions& options) ABSL_LOCKS_EXCLUDED(state.mutex);
absl::Status TruncateFile(CacheState& state, FileId file, uint64_t page_count,
                          const SpaceOptions& options) ABSL_LOCKS_EXCLUDED(state.mutex);

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_FILE_SPACE_H_
