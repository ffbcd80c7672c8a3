#include "fixpool/storage/cache_progress.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "fixpool/io/mutex.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/completion_reaper.h"
#include "fixpool/storage/ensure_log.h"
#include "fixpool/storage/frame_supply.h"
#include "fixpool/storage/page_transfers.h"

namespace fixpool::storage {
namespace {

// Not all that there are: the reads that follow from some of them should be with the device before
// the next are looked at.
CompletionReaper::Batch BatchFor(const CacheState& state)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  const uint32_t in_flight = state.transfers;
  const size_t some = std::clamp<size_t>(in_flight / 8, 4, 16);
  // A transfer of many pages is worth a system call by itself, and takes its time.
  const size_t wanted = state.joined_reads.any_taken() ? 1 : in_flight / 4 + 1;
  return {.wanted = std::min(some, wanted), .most = some};
}

// How long one may wait for a descriptor to be readable: what the kernel had no memory for is
// offered to it again by nobody else.
constexpr absl::Duration kLongestSilence = absl::Milliseconds(100);

}  // namespace

CacheProgress::CacheProgress(PageCache* cache, Options options)
    : state_(cache->hit_path_.state()), options_(options) {}

absl::StatusOr<int> CacheProgress::Descriptor() {
  if (state_->fork_guard.forked()) return state_->fork_guard.Refusal("CacheProgress::Descriptor");
  if (descriptors_.has_value()) return descriptors_->descriptor();
  const absl::StatusOr<int> completions = state_->engine->CompletionDescriptor();
  if (!completions.ok()) return completions.status();
  absl::StatusOr<io::EventDescriptor> event = io::EventDescriptor::Create();
  if (!event.ok()) return event.status();
  absl::StatusOr<io::DescriptorSet> set =
      io::DescriptorSet::Create({*completions, event->descriptor()});
  if (!set.ok()) return set.status();
  own_event_.emplace(*std::move(event));
  descriptors_.emplace(*std::move(set));
  event_.store(&*own_event_);
  // Whoever has interrupted before that did not know of it.
  own_event_->Set();
  return descriptors_->descriptor();
}

io::Deadline CacheProgress::NextDeadline() {
  if (state_->fork_guard.forked()) return io::Deadline::Infinite();
  io::MutexLock lock(state_->mutex);
  if (state_->waiters.size() == 0) return io::Deadline::Infinite();
  io::Deadline next = state_->waiters.next_deadline();
  if (state_->waiters.someone_waits_for_frames()) next = std::min(next, NextFrameRetry(*state_));
  return std::min(next, state_->environment->DeadlineAfter(kLongestSilence));
}

void CacheProgress::Poll() {
  if (state_->fork_guard.forked()) return;
  // Before the look at what it was set for.
  if (own_event_.has_value()) own_event_->Clear();
  bool send;
  CompletionReaper::Batch batch;
  {
    io::MutexLock lock(state_->mutex);
    batch = BatchFor(*state_);
    send = state_->CollectedIsEnough() || state_->collected.size() == state_->transfers;
  }
  if (send) SubmitCollected(*state_);
  state_->reaper.Poll(batch);
  WakeOverdue();
}

void CacheProgress::Submit() {
  if (!state_->fork_guard.forked()) SubmitCollected(*state_);
}

bool CacheProgress::Wait(io::Deadline deadline) {
  if (state_->fork_guard.forked()) return false;
  SubmitCollected(*state_);
  const uint32_t seen = state_->reaper.epoch();
  if (interrupted_.exchange(false)) return true;
  CompletionReaper::Batch batch;
  {
    io::MutexLock lock(state_->mutex);
    // Whoever has woken the last one has interrupted before he let go of the lock.
    if (state_->waiters.size() == 0 && !options_.others_wake_tasks) {
      return interrupted_.exchange(false);
    }
    deadline = std::min(deadline, state_->waiters.next_deadline());
    if (state_->waiters.someone_waits_for_frames()) {
      deadline = std::min(deadline, NextFrameRetry(*state_));
    }
    if (seen != looked_at_) {
      // Whoever has a turn and no time for it must not keep others from what is there. Once for
      // each change: those who looked in vain would do so again.
      looked_at_ = seen;
      const size_t waiting = state_->waiters.size();
      state_->waiters.ForgetTurns();
      state_->WakeTasksForFrames();
      state_->WakeTasksForTransfers();
      if (state_->waiters.size() < waiting) return true;
    }
    batch = BatchFor(*state_);
  }
  state_->reaper.WaitFor(seen, CompletionReaper::Wanted::kEither, deadline, batch);
  WakeOverdue();
  return true;
}

void CacheProgress::Interrupt() {
  interrupted_.store(true);
  if (io::EventDescriptor* const event = event_.load(); event != nullptr) event->Set();
  state_->reaper.Signal();
}

void CacheProgress::WakeOverdue() {
  bool retry;
  {
    io::MutexLock lock(state_->mutex);
    if (state_->waiters.size() == 0) return;
    retry = !NextFrameRetry(*state_).is_infinite();
    if (state_->waiters.next_deadline().is_infinite() && !retry) return;
    state_->waiters.WakeExpired(state_->environment->NowNs());
    if (retry) state_->WakeTasksForFrames();
  }
  if (retry) HelpWithLog(*state_);
}

}  // namespace fixpool::storage
