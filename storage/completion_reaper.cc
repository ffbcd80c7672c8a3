#include "fixpool/storage/completion_reaper.h"

#include <algorithm>

namespace fixpool::storage {

// All orders are seq_cst: "I count myself as a sleeper, then look for the role and the
// epoch" against "I move the epoch or free the role, then look for sleepers".

void CompletionReaper::Signal() {
  epoch_.fetch_add(1);
  if (sleepers_.load() > 0) environment_->Wake(epoch_);
}

bool CompletionReaper::TryTakeRole() {
  bool free = false;
  return role_taken_.compare_exchange_strong(free, true);
}

void CompletionReaper::GiveRoleUp(bool handled) {
  // The epoch moves before the role is free, so that the next holder knows that it must look
  // again before it waits in the kernel for what has been taken in already.
  if (handled) epoch_.fetch_add(1);
  role_taken_.store(false);
  // And once more after: somebody may have gone to sleep because the role was taken.
  if (sleepers_.load() > 0) {
    epoch_.fetch_add(1);
    environment_->Wake(epoch_);
  }
}

bool CompletionReaper::ReapOnce(io::Deadline deadline, Batch batch) {
  const size_t count =
      engine_->ReapSeveral(absl::MakeSpan(completions_.data(), batch.most), deadline, batch.wanted);
  if (count == 0) return false;
  handler_->OnCompletions(absl::MakeSpan(completions_.data(), count));
  return true;
}

void CompletionReaper::WaitFor(uint32_t seen, Wanted wanted, io::Deadline deadline, Batch batch) {
  sleepers_.fetch_add(1);
  if (wanted != Wanted::kSignal && epoch() == seen && engine_->in_flight() > 0 && TryTakeRole()) {
    sleepers_.fetch_sub(1);
    bool handled = false;
    if (epoch() == seen) {
      if (wanted == Wanted::kEither) {
        const int64_t slice_end_ns = environment_->NowNs() + kEitherSliceNs;
        deadline = std::min(deadline, io::Deadline::AtNs(slice_end_ns));
      }
      handled = ReapOnce(deadline, batch);
    }
    GiveRoleUp(handled);
    return;
  }
  environment_->Wait(epoch_, seen, deadline);
  sleepers_.fetch_sub(1);
}

void CompletionReaper::Poll(Batch batch) {
  if (engine_->in_flight() == 0 || !TryTakeRole()) return;
  const bool handled = ReapOnce(io::Deadline::Past(), batch);
  GiveRoleUp(handled);
}

}  // namespace fixpool::storage
