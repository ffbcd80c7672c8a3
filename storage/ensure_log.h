#ifndef FIXPOOL_STORAGE_ENSURE_LOG_H_
#define FIXPOOL_STORAGE_ENSURE_LOG_H_

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/lsn.h"

namespace fixpool::storage {

// Has the log made durable up to `lsn`, and further if others want more, unless it is known to be.
// One thread calls it at a time; the others wait for that. Its error, or DeadlineExceeded: another
// thread's call has not come back.
absl::Status EnsureLog(CacheState& state, Lsn lsn, io::Deadline deadline)
    ABSL_LOCKS_EXCLUDED(state.mutex);

// If pages wait for the log, nobody is at it, and the last attempt is long enough ago: has it made
// durable for all of them.
void TryToCallLog(CacheState& state) ABSL_LOCKS_EXCLUDED(state.mutex);

// The same for who is about to wait for a frame, if there is nobody in the background to do it.
void HelpWithLog(CacheState& state) ABSL_LOCKS_EXCLUDED(state.mutex);

// FailedPrecondition if this thread is inside of EnsureDurable of a cache's log, where an
// `operation` of a cache might wait for itself.
absl::Status CheckNotInHook(absl::string_view operation);

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_ENSURE_LOG_H_
