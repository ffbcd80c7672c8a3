#include "fixpool/storage/ensure_log.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "fixpool/io/mutex.h"
#include "fixpool/storage/completion_reaper.h"

namespace fixpool::storage {
namespace {

// The role of the caller is ours.
absl::Status CallLog(CacheState& state, Lsn lsn) {
  absl::Status status = state.log_order.Call(lsn);
  const int64_t now_ns = state.environment->NowNs();
  {
    io::MutexLock lock(state.mutex);
    state.log_order.EndCall(lsn, status, now_ns);
    ++(status.ok() ? state.counters.log_calls : state.counters.log_errors);
    state.FramesChanged();
    state.CallWriter();
  }
  state.reaper.Signal();
  return status;
}

}  // namespace

absl::Status EnsureLog(CacheState& state, Lsn lsn, io::Deadline deadline) {
  while (true) {
    uint32_t seen;
    bool mine;
    Lsn target = lsn;
    {
      io::MutexLock lock(state.mutex);
      seen = state.reaper.epoch();
      if (state.log_order.Allows(lsn)) return absl::OkStatus();
      target = std::max(lsn, state.log_order.wanted());
      mine = state.log_order.BeginCall();
    }
    if (mine) return CallLog(state, target);
    if (state.environment->Expired(deadline)) {
      return absl::DeadlineExceededError(absl::StrCat(
          "the log is not durable up to LSN ", ToInt(lsn), " yet; another thread is asking it"));
    }
    state.reaper.WaitFor(seen, CompletionReaper::Wanted::kSignal, deadline);
  }
}

void TryToCallLog(CacheState& state) {
  if (!state.log_order.has_log()) return;
  Lsn target;
  {
    io::MutexLock lock(state.mutex);
    LogOrder& order = state.log_order;
    if (!order.wants() || order.retry_at_ns() > state.environment->NowNs()) return;
    if (!order.BeginCall()) return;
    target = order.wanted();
  }
  (void)CallLog(state, target);  // counted; whoever needs the page finds it unwritten
}

void HelpWithLog(CacheState& state) {
  {
    io::MutexLock lock(state.mutex);
    if (state.background_works()) return;
  }
  TryToCallLog(state);
}

absl::Status CheckNotInHook(absl::string_view operation) {
  if (!LogOrder::InHook()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(operation,
                   ": called from within WriteAheadLog::EnsureDurable, where it might wait for "
                   "itself"));
}

}  // namespace fixpool::storage
