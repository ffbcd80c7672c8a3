#include "fixpool/storage/leaving_frames.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "fixpool/io/mutex.h"
#include "fixpool/storage/completion_reaper.h"
#include "fixpool/storage/frame_supply.h"
#include "fixpool/storage/frame_table.h"
#include "fixpool/storage/page_transfers.h"

namespace fixpool::storage {
namespace {

// For the sake of those who wait for the lock: frames that are looked at, and bytes that are
// copied, while it is held. A page that is larger is copied in one piece.
constexpr size_t kLooksOfATurn = 64;
constexpr size_t kBytesOfATurn = 64 << 10;

// Pages may come free while one waits for transfers.
constexpr absl::Duration kLongestWait = absl::Milliseconds(1);

}  // namespace

LeavingFrames::LeavingFrames(CacheState* state)
    : state_(*state), moves_of_a_turn_(std::max<size_t>(kBytesOfATurn / state->page_bytes, 1)) {
  constexpr uint32_t kAtATime = 4096;
  Region* region = nullptr;  // of the last frame, and probably of the next
  for (uint32_t first = 0;; first += kAtATime) {
    io::MutexLock lock(state_.mutex);
    const uint32_t size = state_.frames.size();
    for (uint32_t i = first; i < std::min(size, first + kAtATime); ++i) {
      if (state_.frames[FrameIndex{i}].state == FrameState::kHole) continue;
      const arena::PageHandle handle = state_.frames.HandleOf(FrameIndex{i});
      if (region == nullptr || region->id != handle.region) region = Find(handle.region);
      if (region == nullptr) {
        regions_.push_back({.id = handle.region, .frames = {}});
        region = &regions_.back();
      }
      region->frames.push_back(FrameIndex{i});
    }
    if (first + kAtATime >= size) return;
  }
}

LeavingFrames::Region* LeavingFrames::Find(io::RegionId id) {
  const auto found = std::find_if(regions_.begin(), regions_.end(),
                                  [id](const Region& region) { return region.id == id; });
  return found == regions_.end() ? nullptr : &*found;
}

size_t LeavingFrames::fewest_frames() const {
  size_t fewest = std::numeric_limits<size_t>::max();
  for (const Region& region : regions_) fewest = std::min(fewest, region.frames.size());
  return fewest;
}

void LeavingFrames::GiveUpPages(io::RegionId id, io::Deadline deadline) {
  Region* const region = Find(id);
  if (region == nullptr) return;
  if (!region->leaving) return Begin(*region);
  if (!all_are_known_) {
    all_are_known_ = true;
    io::MutexLock lock(state_.mutex);
    state_.FrameCountChanged();
  }
  if (!region->frames.empty()) Empty(*region, deadline);
}

void LeavingFrames::Begin(Region& region) {
  region.leaving = true;
  io::MutexLock lock(state_.mutex);
  state_.frames.Leave(region.frames);
}

void LeavingFrames::LetStay() {
  io::MutexLock lock(state_.mutex);
  for (const Region& region : regions_) {
    if (region.leaving) state_.frames.Stay(region.frames);
  }
  state_.FrameCountChanged();
}

void LeavingFrames::Empty(Region& region, io::Deadline deadline) {
  const uint32_t seen = state_.reaper.epoch();
  can_evict_ = true;
  size_t next = 0, kept = 0;
  while (next < region.frames.size() && EmptySome(region, next, kept)) {
    if (state_.environment->Expired(deadline)) break;
  }
  region.frames.erase(region.frames.begin() + static_cast<ptrdiff_t>(kept),
                      region.frames.begin() + static_cast<ptrdiff_t>(next));
  if (region.frames.empty()) return;
  // It may be a transfer that is in the way, and nobody else may come to see its end.
  SubmitCollected(state_);
  if (state_.engine->in_flight() == 0) return;
  state_.reaper.WaitFor(seen, CompletionReaper::Wanted::kEither,
                        std::min(deadline, state_.environment->DeadlineAfter(kLongestWait)));
}

bool LeavingFrames::EmptySome(Region& region, size_t& next, size_t& kept) {
  IoBatch batch;
  std::array<arena::PageHandle, kLooksOfATurn> gone;
  size_t gone_count = 0;
  bool go_on = true;
  {
    io::MutexLock lock(state_.mutex);
    const bool evicted = EvictSome(batch);
    // While pages are written that the policy wants to be rid of, a move might be in vain.
    if (!evicted && PagesTooMany() > 0 && state_.frames.counts().in_flight > 0) go_on = false;
    size_t looks = evicted ? kLooksOfATurn : 0, moves = 0;
    for (;
         looks < kLooksOfATurn && moves < moves_of_a_turn_ && go_on && next < region.frames.size();
         ++looks, ++next) {
      const FrameIndex index = region.frames[next];
      const bool was_empty = state_.frames[index].state == FrameState::kFree;
      const Look look = LookAt(index, batch);
      go_on = look != Look::kNoFrame;
      if (look == Look::kEmpty) {
        if (!was_empty) ++moves;
        gone[gone_count++] = state_.frames.Remove(index);
      } else {
        region.frames[kept++] = index;
      }
    }
    // What was evicted or written on the way may be what others wait for.
    state_.FramesChanged();
  }
  Submit(state_, batch);
  for (const arena::PageHandle& handle : absl::MakeSpan(gone).first(gone_count)) {
    (void)state_.arena->Free(handle);
  }
  return go_on;
}

size_t LeavingFrames::PagesTooMany() const {
  const uint32_t in_use = state_.frames.frame_count() - state_.frames.counts().free;
  const uint32_t staying = state_.frames.frame_count() - state_.frames.leaving_count();
  return in_use > staying ? in_use - staying : 0;
}

// Before anything is moved, so that nothing moves that has to go after all.
bool LeavingFrames::EvictSome(IoBatch& batch) {
  const size_t too_many = PagesTooMany();
  if (too_many == 0 || !can_evict_) return false;
  const FrameTable::Counts& counts = state_.frames.counts();
  can_evict_ = counts.evictable + counts.writable > 0 && FreeFrames(state_, too_many, batch) > 0;
  return can_evict_;
}

LeavingFrames::Look LeavingFrames::LookAt(FrameIndex index, IoBatch& batch) {
  if (state_.frames[index].state == FrameState::kFree) return Look::kEmpty;
  {
    const FrameTable::Capture capture(state_.frames, index);
    if (!CanMove(index)) return Look::kInUse;
  }
  const uint32_t left_to_others =
      std::min<uint32_t>(state_.engine->depth() / 2, static_cast<uint32_t>(batch.room()) / 2);
  const FrameIndex to = TakeFrame(state_, left_to_others, batch);
  // It may be the one that the policy let go of.
  const bool is_empty = state_.frames[index].state == FrameState::kFree;
  if (to == kNoFrame) return is_empty ? Look::kEmpty : Look::kNoFrame;
  if (!is_empty && TryMove(index, to)) return Look::kEmpty;
  state_.frames.PutFree(to);
  return is_empty ? Look::kEmpty : Look::kInUse;
}

bool LeavingFrames::CanMove(FrameIndex index) const {
  const Frame& frame = state_.frames[index];
  if (frame.state != FrameState::kResident || state_.frames.IsPinned(index) ||
      state_.frames.IsInFlight(index)) {
    return false;
  }
  const PageFile& file = state_.FileOf(index);
  // Whoever closes a file, or flushes it, looks for its pages where they were.
  return !file.closing && !(frame.dirty && file.flushes > 0);
}

// Nobody can look at the page from Unbind to Bind, but for those who began before and who will
// find, by the version, that it was in vain.
bool LeavingFrames::TryMove(FrameIndex from, FrameIndex to) {
  FrameTable& frames = state_.frames;
  const FrameTable::Capture capture(frames, from);
  if (!CanMove(from)) return false;
  AtomicPageWord* const word = frames.WordOf(from);
  frames.Unbind(from);
  std::memcpy(state_.DataOf(to), state_.DataOf(from), state_.page_bytes);
  frames.MoveContents(from, to);
  state_.lsns.Move(from, to);
  frames.Bind(to, word);
  state_.policy->OnMoved(from, to);
  ++state_.counters.moves;
  return true;
}

}  // namespace fixpool::storage
