#include "fixpool/storage/clock_policy.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "fixpool/io/check.h"

namespace fixpool::storage {

// One call of PickVictims.
struct ClockPolicy::Search {
  absl::Span<FrameIndex> out;
  Judge judge;
  size_t count = 0;
  uint64_t refusals = 0;
  bool stopped = false;

  bool done() const { return stopped || count == out.size(); }
};

ClockPolicy::ClockPolicy(uint32_t frame_count, uint32_t max_frames, uint32_t most_frames)
    : ReplacementPolicy(
          {.frame_count = frame_count, .max_frames = max_frames, .most_frames = most_frames}),
      entries_(max_frames, most_frames) {}

absl::Status ClockPolicy::OnMakeRoom(uint32_t max_frames) { return entries_.MakeRoom(max_frames); }

size_t ClockPolicy::metadata_bytes() const {
  return max_frames() * (1 + sizeof(Entry)) + sizeof(ready_);
}

void ClockPolicy::OnLoaded(FrameIndex frame, const PageId&, Hint hint) {
  Entry& entry = At(frame);
  FIXPOOL_CHECK(!entry.present,
                absl::StrCat("frame ", ToInt(frame), " is loaded and holds a page"));
  entry.present = true;
  entry.deferred = false;
  ++present_;
  end_ = std::max(end_, ToInt(frame) + 1);
  SetHeat(frame, hint == Hint::kKeep ? kKeepHeat : hint == Hint::kPrefetch ? kCold - 1 : kCold);
  if (hint == Hint::kScan) MakeReady(frame);
}

void ClockPolicy::OnEvicted(FrameIndex frame, const PageId&) { OnDropped(frame); }

void ClockPolicy::OnDropped(FrameIndex frame) {
  Entry& entry = At(frame);
  if (entry.present) --present_;
  entry.present = false;
  entry.deferred = false;
}

void ClockPolicy::OnWritten(FrameIndex frame) {
  Entry& entry = At(frame);
  if (!entry.deferred) return;
  entry.deferred = false;
  MakeReady(frame);
}

void ClockPolicy::OnWriteFailed(FrameIndex frame) { At(frame).deferred = false; }

// The hand comes by when it comes to the new place.
void ClockPolicy::OnMoved(FrameIndex from, FrameIndex to) {
  FIXPOOL_CHECK(!At(to).present && At(from).present,
                absl::StrCat("frame ", ToInt(from), " moves to ", ToInt(to)));
  SetHeat(to, HeatOf(from));
  At(to).present = true;
  At(to).deferred = At(from).deferred;
  end_ = std::max(end_, ToInt(to) + 1);
  At(from).present = false;
  At(from).deferred = false;
}

void ClockPolicy::OnDiscardFrom(uint32_t end) {
  std::array<FrameIndex, kReadyCapacity> kept;
  uint32_t count = 0;
  while (ready_size_ > 0) {
    const FrameIndex frame = PopReady();
    if (ToInt(frame) < end) kept[count++] = frame;
  }
  for (uint32_t i = 0; i < count; ++i) MakeReady(kept[i]);
  entries_.DiscardFrom(end);
  end_ = std::min(end_, end);
  if (hand_ >= end_) hand_ = 0;
}

void ClockPolicy::MakeReady(FrameIndex frame) {
  Entry& entry = At(frame);
  if (entry.ready || ready_size_ == kReadyCapacity) return;
  entry.ready = true;
  ready_[(ready_first_ + ready_size_++) % kReadyCapacity] = frame;
}

FrameIndex ClockPolicy::PopReady() {
  const FrameIndex frame = ready_[ready_first_];
  ready_first_ = (ready_first_ + 1) % kReadyCapacity;
  --ready_size_;
  At(frame).ready = false;
  return frame;
}

FrameIndex ClockPolicy::NextOfHand() {
  const FrameIndex frame{hand_};
  hand_ = hand_ + 1 >= end_ ? 0 : hand_ + 1;
  return frame;
}

size_t ClockPolicy::PickVictims(absl::Span<FrameIndex> out, Judge judge) {
  Search search{.out = out, .judge = judge};
  LookAtReady(search);
  GoRound(search);
  // Nothing else is to be had: one more round, for which chances do not matter.
  for (uint32_t step = 0; step < end_ && !search.done(); ++step) {
    const FrameIndex frame = NextOfHand();
    if (At(frame).present) Propose(search, frame);
  }
  return search.count;
}

void ClockPolicy::LookAtReady(Search& search) {
  // By number and not while-not-empty: a deferred page may come back while we look.
  for (uint32_t left = ready_size_; left > 0 && !search.done(); --left) {
    const FrameIndex frame = PopReady();
    if (At(frame).present && HeatOf(frame) <= kCold) Propose(search, frame);
  }
}

// Until nobody has a chance left, or as many were refused as there are.
void ClockPolicy::GoRound(Search& search) {
  const uint64_t steps = uint64_t{end_} * (kKeepHeat - kCold + 1);
  for (uint64_t step = 0; step < steps && !search.done(); ++step) {
    if (search.refusals >= present_) return;
    const FrameIndex frame = NextOfHand();
    if (!At(frame).present) continue;
    const uint8_t heat = HeatOf(frame);
    if (heat > kCold) {
      CountExamined();
      SetHeat(frame, heat - 1);
      continue;
    }
    Propose(search, frame);
  }
}

void ClockPolicy::Propose(Search& search, FrameIndex frame) {
  CountExamined();
  switch (search.judge(frame)) {
    case Verdict::kTake:
      OnDropped(frame);
      search.out[search.count++] = frame;
      return;
    case Verdict::kDefer:
      At(frame).deferred = true;
      break;
    case Verdict::kStop:
      search.stopped = true;
      break;
    case Verdict::kSkip:
      break;
  }
  ++search.refusals;
}

}  // namespace fixpool::storage
