#include "fixpool/storage/blocking_access.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "fixpool/io/mutex.h"
#include "fixpool/storage/completion_reaper.h"
#include "fixpool/storage/ensure_log.h"
#include "fixpool/storage/frame_supply.h"
#include "fixpool/storage/page_transfers.h"
#include "fixpool/storage/read_ahead.h"

namespace fixpool::storage {
namespace {

CompletionReaper::Wanted WantedFor(PageAccess::Reason reason) {
  switch (reason) {
    case PageAccess::Reason::kLatch:
    case PageAccess::Reason::kChange:
      return CompletionReaper::Wanted::kSignal;
    case PageAccess::Reason::kFrames:
    case PageAccess::Reason::kDirtying:
      return CompletionReaper::Wanted::kEither;
    default:
      return CompletionReaper::Wanted::kCompletion;
  }
}

}  // namespace

absl::StatusOr<PageHold> AccessPage(CacheState& state, const PageId& page, Intent intent,
                                    const AccessOptions& options) {
  using Next = PageAccess::Next;
  if (absl::Status status = CheckNotInHook("access to a page"); !status.ok()) return status;
  PageAccess access(state, page, intent, PageAccess::Caller::kThread, options);
  IoBatch batch;
  ReadAheadPlan plan;
  std::optional<io::Deadline> deadline;
  bool too_late = false;
  while (true) {
    uint32_t seen;
    uint32_t throttle_seen;
    Next next;
    io::Deadline retry_at = io::Deadline::Infinite();
    {
      io::MutexLock lock(state.mutex);
      access.AssertLocked();
      seen = state.reaper.epoch();
      throttle_seen = state.throttle_changes.load();
      next = access.Look(batch, plan);
      if (next == Next::kWait && access.reason() == PageAccess::Reason::kFrames) {
        retry_at = NextFrameRetry(state);
      }
    }
    Submit(state, batch);
    ReadAhead(state, plan);
    if (next == Next::kGranted) return access.TakeHold();
    if (next == Next::kFailed) return access.error();
    if (!deadline.has_value()) {
      deadline = state.DeadlineAfter(options.timeout, state.timeouts.access);
    }
    if (state.environment->Expired(*deadline)) {
      // Where the engine was full, Submit has waited, and what was not there then may be there now.
      if (!std::exchange(too_late, true) && state.reaper.epoch() != seen) continue;
      io::MutexLock lock(state.mutex);
      access.AssertLocked();
      return access.GiveUp();
    }
    SubmitCollected(state);
    if (access.reason() == PageAccess::Reason::kFrames) HelpWithLog(state);
    if (access.reason() == PageAccess::Reason::kDirtying && state.has_keeper_thread.load()) {
      state.environment->Wait(state.throttle_changes, throttle_seen, *deadline);
    } else {
      state.reaper.WaitFor(seen, WantedFor(access.reason()), std::min(*deadline, retry_at));
    }
  }
}

}  // namespace fixpool::storage
