#include "fixpool/storage/s3_fifo_policy.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "fixpool/io/check.h"

namespace fixpool::storage {
namespace {

// The shares that did best, or close to it, over the traces of docs/replacement.md.
uint32_t SmallTarget(uint32_t frame_count) { return std::max(frame_count / 10, 1u); }
uint32_t GhostCapacity(uint32_t frame_count) {
  return std::max(static_cast<uint32_t>(uint64_t{frame_count} * 9 / 10), 1u);
}

}  // namespace

// One call of PickVictims: what it has found, and how much longer it looks. Each queue is gone
// through once, the main queue as often as its pages' hits may ask for, but no longer than until
// as many have been refused as there are: then all have been seen.
struct S3FifoPolicy::Search {
  absl::Span<FrameIndex> out;
  Judge judge;
  uint32_t scan_left;
  uint32_t small_left;
  uint64_t main_left;
  uint32_t main_refusals_left;
  size_t count = 0;
  bool stopped = false;

  bool done() const { return stopped || count == out.size(); }
};

S3FifoPolicy::S3FifoPolicy(uint32_t frame_count, uint32_t max_frames, uint32_t most_frames)
    : ReplacementPolicy(
          {.frame_count = frame_count, .max_frames = max_frames, .most_frames = most_frames}),
      links_(max_frames, most_frames),
      scan_(links_),
      young_(links_),
      old_(links_),
      main_(links_),
      entries_(max_frames, most_frames),
      ghosts_({.capacity = GhostCapacity(frame_count),
               .max_capacity = GhostCapacity(max_frames),
               .most_capacity = GhostCapacity(most_frames)}) {
  OnFrameCount();
}

void S3FifoPolicy::OnFrameCount() {
  small_target_ = SmallTarget(frame_count());
  young_target_ = small_target_ / 2;
  ghosts_.SetCapacity(GhostCapacity(frame_count()));
  while (young_.size() > young_target_) EnterOlderHalf(young_.oldest());
}

size_t S3FifoPolicy::metadata_bytes() const {
  return max_frames() * (1 + sizeof(Entry)) + FrameQueue::Links::BytesFor(max_frames()) +
         GhostTable::BytesFor(GhostCapacity(max_frames()));
}

absl::Status S3FifoPolicy::OnMakeRoom(uint32_t max_frames) {
  absl::Status status = links_.MakeRoom(max_frames);
  status.Update(entries_.MakeRoom(max_frames));
  status.Update(ghosts_.MakeRoom(GhostCapacity(max_frames)));
  return status;
}

void S3FifoPolicy::OnDiscardFrom(uint32_t end) {
  links_.DiscardFrom(end);
  entries_.DiscardFrom(end);
}

FrameQueue& S3FifoPolicy::QueueOf(Place place) {
  switch (place) {
    case Place::kScan:
      return scan_;
    case Place::kYoung:
      return young_;
    case Place::kOld:
      return old_;
    case Place::kMain:
      return main_;
    case Place::kAbsent:
    case Place::kTaken:
    case Place::kTakenToRemember:
      break;
  }
  FIXPOOL_CHECK(false, "a frame that is in no queue");
  return main_;
}

void S3FifoPolicy::PushNewest(FrameIndex frame, Place place) {
  QueueOf(place).PushNewest(frame);
  At(frame).place = place;
}

void S3FifoPolicy::Leave(FrameIndex frame) {
  Entry& entry = At(frame);
  if (IsQueue(entry.place)) QueueOf(entry.place).Remove(frame);
  entry = Entry();
}

void S3FifoPolicy::EnterYoung(FrameIndex frame, uint8_t heat) {
  SetHeat(frame, heat);
  PushNewest(frame, Place::kYoung);
  while (young_.size() > young_target_) EnterOlderHalf(young_.oldest());
}

void S3FifoPolicy::EnterOlderHalf(FrameIndex frame) {
  young_.Remove(frame);
  PushNewest(frame, Place::kOld);
  const uint8_t heat = HeatOf(frame);
  if (heat > kMaxHeat) return;  // to be kept, by a wish since it was loaded
  if (heat > 0) At(frame).prefetched = 0;
  SetHeat(frame, 0);
}

void S3FifoPolicy::OnLoaded(FrameIndex frame, const PageId& page, Hint hint) {
  FIXPOOL_CHECK(At(frame).place == Place::kAbsent,
                absl::StrCat("frame ", ToInt(frame), " is loaded and holds a page"));
  if (hint == Hint::kScan) {
    SetHeat(frame, 0);
    PushNewest(frame, Place::kScan);
    return;
  }
  const bool remembered = ghosts_.Take(page);
  if (remembered || hint == Hint::kKeep) {
    SetHeat(frame, hint == Hint::kKeep ? kKeepHeat : 0);
    PushNewest(frame, Place::kMain);
    return;
  }
  // The first hit on a page that was loaded ahead of its use is to be noticed.
  At(frame).prefetched = hint == Hint::kPrefetch;
  EnterYoung(frame, hint == Hint::kPrefetch ? 0 : kMaxHeat);
}

bool S3FifoPolicy::WorthRemembering(FrameIndex frame) {
  const Entry& entry = At(frame);
  if (entry.place != Place::kYoung && entry.place != Place::kOld) return false;
  return !entry.prefetched || HeatOf(frame) > 0;
}

void S3FifoPolicy::OnEvicted(FrameIndex frame, const PageId& page) {
  if (At(frame).place == Place::kTakenToRemember || WorthRemembering(frame)) ghosts_.Add(page);
  Leave(frame);
}

void S3FifoPolicy::OnDropped(FrameIndex frame) { Leave(frame); }

void S3FifoPolicy::OnWritten(FrameIndex frame) {
  Entry& entry = At(frame);
  if (!entry.deferred || !IsQueue(entry.place)) return;
  entry.deferred = 0;
  FrameQueue& queue = QueueOf(entry.place);
  queue.Remove(frame);
  queue.PushOldest(frame);
}

void S3FifoPolicy::OnWriteFailed(FrameIndex frame) { At(frame).deferred = 0; }

void S3FifoPolicy::OnMoved(FrameIndex from, FrameIndex to) {
  FIXPOOL_CHECK(At(to).place == Place::kAbsent && IsQueue(At(from).place),
                absl::StrCat("frame ", ToInt(from), " moves to ", ToInt(to)));
  QueueOf(At(from).place).Replace(from, to);
  SetHeat(to, HeatOf(from));
  At(to) = At(from);
  At(from) = Entry();
}

size_t S3FifoPolicy::PickVictims(absl::Span<FrameIndex> out, Judge judge) {
  Search search{.out = out,
                .judge = judge,
                .scan_left = scan_.size(),
                .small_left = small_size(),
                .main_left = uint64_t{main_.size()} * (kMaxHeat + 1),
                .main_refusals_left = main_.size()};
  Look(search);
  // Those that the rest of the search passed over: pages that are to be kept, or were hit
  // all the time, while nothing else can be had.
  for (FrameQueue* queue : {&scan_, &old_, &young_, &main_}) ProposeAllOf(search, *queue);
  return search.count;
}

void S3FifoPolicy::Look(Search& search) {
  while (!search.done()) {
    const bool main_gives = search.main_left > 0 && search.main_refusals_left > 0 && !main_.empty();
    const bool small_gives = search.small_left > 0 && small_size() > 0;
    if (search.scan_left > 0 && !scan_.empty()) {
      LookAtScan(search);
    } else if (small_gives && (small_size() >= small_target_ || !main_gives)) {
      LookAtSmall(search);
    } else if (main_gives) {
      LookAtMain(search);
    } else {
      return;
    }
  }
}

void S3FifoPolicy::LookAtScan(Search& search) {
  --search.scan_left;
  const FrameIndex frame = scan_.oldest();
  const uint8_t heat = HeatOf(frame);
  if (heat == 0) return ProposeAndRequeue(search, frame);
  CountExamined();
  scan_.Remove(frame);
  // As if it had been loaded by the first who was not a scan.
  EnterYoung(frame, std::max(heat, kMaxHeat));
  ++search.small_left;
}

void S3FifoPolicy::LookAtSmall(Search& search) {
  --search.small_left;
  if (old_.empty()) EnterOlderHalf(young_.oldest());
  const FrameIndex frame = old_.oldest();
  const uint8_t heat = HeatOf(frame);
  const uint8_t hits_of_load = At(frame).prefetched;
  if (heat <= hits_of_load) return ProposeAndRequeue(search, frame);
  CountExamined();
  old_.Remove(frame);
  At(frame).prefetched = 0;
  SetHeat(frame, heat > kMaxHeat ? heat : 0);
  PushNewest(frame, Place::kMain);
  ++search.main_left;
  ++search.main_refusals_left;
}

void S3FifoPolicy::LookAtMain(Search& search) {
  --search.main_left;
  const FrameIndex frame = main_.oldest();
  const uint8_t heat = HeatOf(frame);
  if (heat == 0) {
    ProposeAndRequeue(search, frame);
    --search.main_refusals_left;
    return;
  }
  CountExamined();
  SetHeat(frame, heat - 1);
  main_.PushNewest(main_.PopOldest());
}

ReplacementPolicy::Verdict S3FifoPolicy::Propose(Search& search, FrameIndex frame) {
  CountExamined();
  const Verdict verdict = search.judge(frame);
  Entry& entry = At(frame);
  switch (verdict) {
    case Verdict::kTake: {
      const bool remember = WorthRemembering(frame);
      Leave(frame);
      entry.place = remember ? Place::kTakenToRemember : Place::kTaken;
      search.out[search.count++] = frame;
      break;
    }
    case Verdict::kDefer:
      entry.deferred = 1;
      break;
    case Verdict::kStop:
      search.stopped = true;
      break;
    case Verdict::kSkip:
      break;
  }
  return verdict;
}

void S3FifoPolicy::ProposeAndRequeue(Search& search, FrameIndex frame) {
  const Verdict verdict = Propose(search, frame);
  if (verdict == Verdict::kTake || verdict == Verdict::kStop) return;
  FrameQueue& queue = QueueOf(At(frame).place);
  queue.Remove(frame);
  queue.PushNewest(frame);
}

void S3FifoPolicy::ProposeAllOf(Search& search, FrameQueue& queue) {
  FrameIndex frame = queue.oldest();
  while (frame != kNoFrame && !search.done()) {
    const FrameIndex next = queue.NewerThan(frame);
    (void)Propose(search, frame);
    frame = next;
  }
}

}  // namespace fixpool::storage
