#ifndef FIXPOOL_STORAGE_ASYNC_ACCESS_H_
#define FIXPOOL_STORAGE_ASYNC_ACCESS_H_

#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/access_options.h"
#include "fixpool/storage/access_waiters.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/page_access.h"
#include "fixpool/storage/page_hold.h"
#include "fixpool/storage/page_id.h"
#include "fixpool/storage/task_state.h"

namespace fixpool::storage {

// A PageAccess that a task waits for: what PageAwaiter is made of when there is no hit.
//
// Whoever changes what it waits for only makes it ready; it looks by itself, on its task's
// thread, when its turn has come, and the task is resumed once it has its answer. So a latch is
// granted to a task that takes it at once, and to nobody else.
// What it starts is collected with what other tasks start (CacheState::collected), and goes to
// the engine when there is enough of it, or when somebody is about to wait.
// May be destroyed at any time: its read, if it started one, goes on without it.
// Threads: those of WaitNode.
class AsyncAccess final : public AccessWaiter {
 public:
  AsyncAccess(CacheState& state, const PageId& page, Intent intent, const AccessOptions& options);
  ~AsyncAccess();

  // In await_suspend. False: there is an answer already.
  bool Begin(TaskState* task);
  // In await_resume. Errors: see PageCache.
  absl::StatusOr<PageHold> TakeAnswer();

 private:
  static bool LookAgain(WaitNode* node);
  // True: it has to wait, or to wait on if `first` is null.
  bool LookOrWait(TaskState* first);
  bool LookOrWaitLocked(TaskState* first, ReadAheadPlan& plan)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  void Enlist() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  void PassTurnOn() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);

  CacheState& state_;
  const std::optional<absl::Duration> timeout_;
  PageAccess access_;
  std::optional<io::Deadline> deadline_;  // from the first wait on
  absl::Status error_;                    // OK: it was granted
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_ASYNC_ACCESS_H_
