#include "fixpool/storage/clock_policy.h"

#include <algorithm>

namespace fixpool::storage {

ClockPolicy::ClockPolicy(uint32_t frame_count)
    : ReplacementPolicy(frame_count), entries_(frame_count) {}

uint8_t ClockPolicy::ChancesOf(Hint hint) {
  switch (hint) {
    case Hint::kScan:
      return 0;
    case Hint::kNormal:
    case Hint::kPrefetch:
      return 1;
    case Hint::kKeep:
      return kMaxChances;
  }
  return 1;
}

void ClockPolicy::OnLoaded(FrameIndex frame, const PageId&, Hint hint) {
  Entry& entry = entries_[ToInt(frame)];
  entry.present = true;
  entry.deferred = false;
  entry.chances = ChancesOf(hint);
}

void ClockPolicy::OnHit(FrameIndex frame, Hint hint) {
  Entry& entry = entries_[ToInt(frame)];
  entry.chances = std::max(entry.chances, ChancesOf(hint));
}

void ClockPolicy::OnEvicted(FrameIndex frame) {
  Entry& entry = entries_[ToInt(frame)];
  entry.present = false;
  entry.deferred = false;
  entry.chances = 0;
}

void ClockPolicy::OnWritten(FrameIndex frame) {
  Entry& entry = entries_[ToInt(frame)];
  if (!entry.deferred) return;
  entry.deferred = false;
  if (entry.ready || ready_size_ == kReadyCapacity) return;
  entry.ready = true;
  ready_[(ready_first_ + ready_size_++) % kReadyCapacity] = frame;
}

void ClockPolicy::OnWriteFailed(FrameIndex frame) { entries_[ToInt(frame)].deferred = false; }

FrameIndex ClockPolicy::PopReady() {
  const FrameIndex frame = ready_[ready_first_];
  ready_first_ = (ready_first_ + 1) % kReadyCapacity;
  --ready_size_;
  entries_[ToInt(frame)].ready = false;
  return frame;
}

FrameIndex ClockPolicy::PickVictim(Judge judge) {
  // By index and not while-not-empty: a deferred page may come back while we look.
  for (uint32_t left = ready_size_; left > 0; --left) {
    const FrameIndex frame = PopReady();
    Entry& entry = entries_[ToInt(frame)];
    if (!entry.present || entry.chances > 0) continue;
    const Verdict verdict = judge(frame);
    if (verdict == Verdict::kTake) return frame;
    entry.deferred = verdict == Verdict::kDefer;
    if (verdict == Verdict::kStop) return kNoFrame;
  }
  // After kMaxChances rounds nobody has a chance left, and one more proposes everybody.
  const uint64_t steps = uint64_t{entries_.size()} * (kMaxChances + 1);
  for (uint64_t step = 0; step < steps; ++step) {
    const FrameIndex frame{hand_};
    const uint32_t hand_old = hand_;
    hand_ = hand_ + 1 == entries_.size() ? 0 : hand_ + 1;
    Entry& entry = entries_[ToInt(frame)];
    if (!entry.present) continue;
    if (heat_[hand_old].exchange(0) > 0) entry.chances = std::max<uint8_t>(entry.chances, 1);
    if (entry.chances > 0) {
      --entry.chances;
      continue;
    }
    const Verdict verdict = judge(frame);
    if (verdict == Verdict::kTake) return frame;
    if (verdict == Verdict::kDefer) entry.deferred = true;
    if (verdict == Verdict::kStop) return kNoFrame;
  }
  return kNoFrame;
}

}  // namespace fixpool::storage
