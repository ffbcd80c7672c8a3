#ifndef FIXPOOL_STORAGE_PAGE_AWAITER_H_
#define FIXPOOL_STORAGE_PAGE_AWAITER_H_

#include "fixpool/io/require_cpp20.h"

#include <concepts>
#include <coroutine>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "fixpool/storage/access_options.h"
#include "fixpool/storage/async_access.h"
#include "fixpool/storage/hit_path.h"
#include "fixpool/storage/lsn.h"
#include "fixpool/storage/page_access.h"
#include "fixpool/storage/page_guard.h"
#include "fixpool/storage/page_id.h"
#include "fixpool/storage/page_latch.h"
#include "fixpool/storage/task_state.h"

namespace fixpool::storage {

// What a task awaits to have a page: PageCache::ReadAsync, WriteAsync and MakeAsync, where the
// contract is told. Awaited once, where it was made.
template <typename Guard>
class [[nodiscard]] PageAwaiter {
 public:
  PageAwaiter(const HitPath& path, const PageId& page, Intent intent, const AccessOptions& options)
      : path_(path), page_(page), intent_(intent), options_(options) {}
  PageAwaiter(const PageAwaiter&) = delete;
  PageAwaiter& operator=(const PageAwaiter&) = delete;

  // A page that can be had at once does not make its task wait.
  bool await_ready() {
    if (options_.expected_lsn != Lsn::kNone) return false;
    if (intent_ == Intent::kRead) hit_ = path_.TryShared(page_, options_.hint);
    if (intent_ == Intent::kWrite) hit_ = path_.TryExclusive(page_, options_.hint);
    return hit_.word != nullptr;
  }
  template <std::derived_from<TaskState> Promise>
  bool await_suspend(std::coroutine_handle<Promise> task) {
    access_.emplace(*path_.state(), page_, intent_, options_);
    return access_->Begin(&task.promise());
  }
  absl::StatusOr<Guard> await_resume() {
    if (hit_.word != nullptr) {
      return path_.GuardOf<Guard>(hit_, page_,
                                  intent_ == Intent::kRead ? PageLatch::Mode::kShared
                                                           : PageLatch::Mode::kExclusive);
    }
    absl::StatusOr<PageHold> hold = access_->TakeAnswer();
    if (!hold.ok()) return hold.status();
    return Guard(*std::move(hold));
  }

 private:
  const HitPath& path_;
  const PageId page_;
  const Intent intent_;
  const AccessOptions options_;
  HitPath::Latched hit_;
  std::optional<AsyncAccess> access_;  // once there was no hit
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_PAGE_AWAITER_H_
