#include "fixpool/storage/lru_policy.h"

#include "absl/strings/str_cat.h"
#include "fixpool/io/check.h"

namespace fixpool::storage {

LruPolicy::LruPolicy(uint32_t frame_count, uint32_t max_frames, uint32_t most_frames)
    : ReplacementPolicy({.frame_count = frame_count,
                         .max_frames = max_frames,
                         .most_frames = most_frames,
                         .needs_every_hit = true}),
      links_(max_frames, most_frames),
      queue_(links_),
      places_(max_frames, most_frames) {}

absl::Status LruPolicy::OnMakeRoom(uint32_t max_frames) {
  io::MutexLock lock(mutex_);
  absl::Status status = links_.MakeRoom(max_frames);
  status.Update(places_.MakeRoom(max_frames));
  return status;
}

size_t LruPolicy::metadata_bytes() const {
  return max_frames() * (1 + sizeof(Place)) + FrameQueue::Links::BytesFor(max_frames());
}

void LruPolicy::OnLoaded(FrameIndex frame, const PageId&, Hint hint) {
  io::MutexLock lock(mutex_);
  FIXPOOL_CHECK(places_[frame] == Place::kAbsent,
                absl::StrCat("frame ", ToInt(frame), " is loaded and holds a page"));
  places_[frame] = Place::kQueued;
  SetHeat(frame, hint == Hint::kKeep ? kKeepHeat : 0);
  if (hint == Hint::kScan) {
    queue_.PushOldest(frame);
  } else {
    queue_.PushNewest(frame);
  }
}

bool LruPolicy::OnHit(FrameIndex frame, Hint hint) {
  if (hint == Hint::kScan) return false;
  io::MutexLock lock(mutex_);
  // The page may have left while its last user took the lock.
  if (places_[frame] == Place::kAbsent) return false;
  places_[frame] = Place::kQueued;
  if (hint == Hint::kKeep) SetHeat(frame, kKeepHeat);
  queue_.Remove(frame);
  queue_.PushNewest(frame);
  return true;
}

void LruPolicy::Leave(FrameIndex frame) {
  if (places_[frame] == Place::kAbsent) return;
  queue_.Remove(frame);
  places_[frame] = Place::kAbsent;
}

void LruPolicy::OnEvicted(FrameIndex frame, const PageId&) { OnDropped(frame); }

void LruPolicy::OnDropped(FrameIndex frame) {
  io::MutexLock lock(mutex_);
  Leave(frame);
}

void LruPolicy::OnWritten(FrameIndex frame) {
  io::MutexLock lock(mutex_);
  if (places_[frame] != Place::kDeferred) return;
  places_[frame] = Place::kQueued;
  queue_.Remove(frame);
  queue_.PushOldest(frame);
}

void LruPolicy::OnWriteFailed(FrameIndex frame) {
  io::MutexLock lock(mutex_);
  if (places_[frame] == Place::kDeferred) places_[frame] = Place::kQueued;
}

void LruPolicy::OnMoved(FrameIndex from, FrameIndex to) {
  io::MutexLock lock(mutex_);
  FIXPOOL_CHECK(places_[to] == Place::kAbsent && places_[from] != Place::kAbsent,
                absl::StrCat("frame ", ToInt(from), " moves to ", ToInt(to)));
  queue_.Replace(from, to);
  SetHeat(to, HeatOf(from));
  places_[to] = places_[from];
  places_[from] = Place::kAbsent;
}

void LruPolicy::OnDiscardFrom(uint32_t end) {
  io::MutexLock lock(mutex_);
  links_.DiscardFrom(end);
  places_.DiscardFrom(end);
}

size_t LruPolicy::PickVictims(absl::Span<FrameIndex> out, Judge judge) {
  io::MutexLock lock(mutex_);
  size_t count = 0;
  // Until as many were refused as there are; then each once more, wishes to keep it or not.
  const uint64_t present = queue_.size();
  uint64_t refused = 0;
  while (refused < 2 * present && !queue_.empty() && count < out.size()) {
    const FrameIndex frame = queue_.oldest();
    CountExamined();
    const uint8_t heat = HeatOf(frame);
    if (heat > 0 && refused < present) {
      SetHeat(frame, heat - 1);
      queue_.PushNewest(queue_.PopOldest());
      continue;
    }
    const Verdict verdict = judge(frame);
    if (verdict == Verdict::kStop) break;
    if (verdict == Verdict::kTake) {
      Leave(frame);
      out[count++] = frame;
      continue;
    }
    if (verdict == Verdict::kDefer) places_[frame] = Place::kDeferred;
    // Held, or written: out of the way of the next search.
    ++refused;
    queue_.PushNewest(queue_.PopOldest());
  }
  return count;
}

}  // namespace fixpool::storage
