#include "benchmarks/policy_replay.h"

#include <algorithm>
#include <cstddef>

#include "absl/types/span.h"
#include "benchmarks/trace_turns.h"
#include "fixpool/io/check.h"
#include "fixpool/storage/make_policy.h"

namespace fixpool::benchmarks {

using storage::FrameIndex;
using Verdict = storage::ReplacementPolicy::Verdict;

PolicyReplay::PolicyReplay(const Options& options)
    : frames_(options.frames),
      policy_(storage::MakePolicy(options.policy, options.frames, options.frames)),
      frame_of_(options.pages),
      frame_(options.frames) {
  for (std::atomic<uint32_t>& frame : frame_of_) frame.store(kNowhere, std::memory_order_relaxed);
}

void PolicyReplay::Write(uint64_t page) {
  io::MutexLock lock(mutex_);
  const uint32_t frame = frame_of_[page].load(std::memory_order_relaxed);
  if (frame != kNowhere) frame_[frame].dirty = true;
}

// False: somebody else had just brought it in.
bool PolicyReplay::BringIn(uint64_t page, storage::Hint hint, Tally& tally) {
  io::MutexLock lock(mutex_);
  if (const uint32_t there = frame_of_[page].load(std::memory_order_relaxed); there != kNowhere) {
    if (policy_->Hit(FrameIndex{there}, hint)) ++tally.hits_written;
    return false;
  }
  ++misses_;
  EndWrites();
  const uint32_t frame = TakeFrame();
  frame_[frame] = {.page = static_cast<uint32_t>(page)};
  policy_->OnLoaded(FrameIndex{frame}, IdOf(page), hint);
  frame_of_[page].store(frame, std::memory_order_relaxed);
  return true;
}

void PolicyReplay::EndWrites() {
  for (const uint32_t frame : in_flight_) policy_->OnWritten(FrameIndex{frame});
  in_flight_.clear();
}

uint32_t PolicyReplay::TakeFrame() {
  if (used_ < frames_) return used_++;
  const auto judge = [this](FrameIndex index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const uint32_t frame = storage::ToInt(index);
    if (std::find(in_flight_.begin(), in_flight_.end(), frame) != in_flight_.end()) {
      return Verdict::kSkip;
    }
    if (!frame_[frame].dirty) return Verdict::kTake;
    // As many as the cache starts in one search.
    if (in_flight_.size() == 16) return Verdict::kStop;
    frame_[frame].dirty = false;
    in_flight_.push_back(frame);
    ++page_writes_;
    return Verdict::kDefer;
  };
  FrameIndex victim = storage::kNoFrame;
  while (policy_->PickVictims(absl::MakeSpan(&victim, 1), judge) == 0) {
    FIXPOOL_CHECK(!in_flight_.empty(), "a policy has no victim among clean pages");
    EndWrites();
  }
  ++evictions_;
  const uint32_t page = frame_[storage::ToInt(victim)].page;
  frame_of_[page].store(kNowhere, std::memory_order_relaxed);
  policy_->OnEvicted(victim, IdOf(page));
  return storage::ToInt(victim);
}

PolicyReplay::Result PolicyReplay::ResultOf(const Tally& tally) const {
  io::MutexLock lock(mutex_);
  Result result;
  result.references = tally.references;
  result.misses = misses_;
  result.hits_written = tally.hits_written;
  result.evictions = evictions_;
  result.page_writes = page_writes_;
  result.frames_examined = policy_->frames_examined();
  return result;
}

TraceReplay ReplayTrace(const PageTrace& trace, storage::PolicyKind policy, uint32_t frames,
                        uint32_t threads) {
  PolicyReplay replay({.policy = policy, .frames = frames, .pages = trace.distinct_pages()});
  // Apart, so that threads do not take each other's cache lines.
  struct alignas(64) ThreadTally {
    PolicyReplay::Tally tally;
  };
  std::vector<ThreadTally> tallies(threads);
  const double seconds = VisitInTurns(trace, threads, [&](uint32_t thread, uint32_t record) {
    const uint32_t page = PageTrace::IndexOf(record);
    if (PageTrace::IsWrite(record)) {
      replay.Write(page);
    } else {
      (void)replay.Reference(page, tallies[thread].tally);
    }
  });
  PolicyReplay::Tally sum;
  for (const ThreadTally& of_thread : tallies) {
    sum.references += of_thread.tally.references;
    sum.hits_written += of_thread.tally.hits_written;
  }
  return {.result = replay.ResultOf(sum),
          .metadata_bytes_per_frame = replay.metadata_bytes_per_frame(),
          .seconds = seconds};
}

}  // namespace fixpool::benchmarks
