#include "fixpool/storage/async_access.h"

#include "fixpool/io/mutex.h"
#include "fixpool/storage/ensure_log.h"
#include "fixpool/storage/page_transfers.h"
#include "fixpool/storage/read_ahead.h"

namespace fixpool::storage {

AsyncAccess::AsyncAccess(CacheState& state, const PageId& page, Intent intent,
                         const AccessOptions& options)
    : state_(state),
      timeout_(options.timeout),
      access_(state, page, intent, PageAccess::Caller::kTask, options) {
  SetLook(&AsyncAccess::LookAgain);
}

AsyncAccess::~AsyncAccess() {
  if (!suspended()) return;
  // The lock may be held for ever by a thread of the parent's.
  if (!state_.fork_guard.forked()) {
    io::MutexLock lock(state_.mutex);
    access_.AssertLocked();
    if (waiting()) state_.waiters.Remove(this);
    const bool had_turn = state_.waiters.EndTurn(this);
    access_.Detach();
    if (had_turn) PassTurnOn();
  }
  Withdraw();
}

bool AsyncAccess::Begin(TaskState* task) {
  if (state_.fork_guard.forked()) {
    error_ = state_.fork_guard.Refusal("access by a task");
    return false;
  }
  error_ = CheckNotInHook("access by a task");
  return error_.ok() && LookOrWait(task);
}

absl::StatusOr<PageHold> AsyncAccess::TakeAnswer() {
  if (!error_.ok()) return error_;
  return access_.TakeHold();
}

bool AsyncAccess::LookAgain(WaitNode* node) {
  return !static_cast<AsyncAccess*>(node)->LookOrWait(nullptr);
}

bool AsyncAccess::LookOrWait(TaskState* first) {
  while (true) {
    bool waits = false;
    bool looked = false;
    bool enough;
    bool for_frame = false;
    ReadAheadPlan plan;
    {
      io::MutexLock lock(state_.mutex);
      if (state_.collected.room() >= PageAccess::kTransfersOfALook) {
        waits = LookOrWaitLocked(first, plan);
        for_frame = waits && access_.reason() == PageAccess::Reason::kFrames;
        looked = true;
      }
      enough = !looked || state_.CollectedIsEnough();
    }
    // From here on, if it waits, another thread may have woken it: not that it can run, since
    // that is up to this thread.
    if (enough) SubmitCollected(state_);
    ReadAhead(state_, plan);
    if (for_frame) HelpWithLog(state_);
    if (looked) return waits;
  }
}

bool AsyncAccess::LookOrWaitLocked(TaskState* first, ReadAheadPlan& plan) {
  access_.AssertLocked();
  const PageAccess::Next next = access_.Look(state_.collected, plan);
  if (next == PageAccess::Next::kWait) {
    if (!deadline_.has_value()) deadline_ = state_.DeadlineAfter(timeout_, state_.timeouts.access);
    if (!state_.environment->Expired(*deadline_)) {
      first != nullptr ? Suspend(first) : WaitAgain();
      Enlist();
      return true;
    }
    error_ = access_.GiveUp();
  } else if (next == PageAccess::Next::kFailed) {
    error_ = access_.error();
  }
  if (state_.waiters.EndTurn(this)) PassTurnOn();
  return false;
}

void AsyncAccess::Enlist() {
  switch (access_.reason()) {
    case PageAccess::Reason::kFrames:
      state_.waiters.WaitForFrame(this, *deadline_);
      break;
    case PageAccess::Reason::kTransfers:
      state_.waiters.WaitForTransfer(this, *deadline_);
      break;
    case PageAccess::Reason::kDirtying:
      state_.waiters.WaitForDirtying(this, *deadline_);
      break;
    default:
      state_.waiters.WaitForPage(this, access_.frame(), *deadline_);
      break;
  }
  // Not passed on: it was used, or there was nothing.
  (void)state_.waiters.EndTurn(this);
}

void AsyncAccess::PassTurnOn() {
  state_.WakeTasksForFrames();
  state_.WakeTasksForTransfers();
}

}  // namespace fixpool::storage
