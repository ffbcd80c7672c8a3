#include "fixpool/storage/frame_supply.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "fixpool/storage/mutation.h"
#include "fixpool/storage/page_writes.h"

namespace fixpool::storage {
namespace {

using Verdict = ReplacementPolicy::Verdict;

// Writes that one search for a victim starts. Enough to keep a disk busy and to serve the
// next misses, few enough to leave the order of eviction to the policy.
constexpr uint32_t kWritesPerSearch = 16;

// Pages that wait for the log, or for the background's turn, which a search passes over where
// nothing is clean: when that comes, they can all be written.
constexpr uint32_t kWaitingSkipsPerSearch = 16;

constexpr int64_t kFutileSearchPauseNs = 10'000'000;

// Pages in leaving frames that one who needs a frame lets go of, at most, for the sake of those
// who wait for the lock.
constexpr int kLeavingPerSearch = 256;

// One walk through the policy's candidates.
class VictimSearch {
 public:
  VictimSearch(uint32_t reserve, bool retry_failed, IoBatch& batch)
      : reserve_(reserve), retry_failed_(retry_failed), batch_(batch) {}

  // The first of `victims`, as many as it returns: frames that are in no list and no table.
  size_t Run(CacheState& state, absl::Span<FrameIndex> victims)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
    const size_t count = state.policy->PickVictims(
        victims, [this, &state](FrameIndex index)
                     ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) { return Judge(state, index); });
    for (const FrameIndex victim : victims.first(count)) {
      ++state.counters.evictions;
      const PageId page = state.PageIn(victim);
      state.policy->OnEvicted(victim, page);
      FileScans* const scans = state.files.at(page.file).scans.get();
      if (scans != nullptr && scans->detector().OnEvicted(page.page_number)) {
        ++state.counters.read_ahead_wasted;
      }
    }
    return count;
  }
  uint32_t writes_started() const { return writes_started_; }

 private:
  Verdict Judge(CacheState& state, FrameIndex index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
    if (state.TryVacate(index)) return Verdict::kTake;
    const Frame& frame = state.frames[index];
    const bool clean_ones_exist = state.frames.counts().evictable > 0;
    const bool may_write =
        writes_started_ < kWritesPerSearch && RoomForWrite(state, clean_ones_exist);
    // Where most pages are dirty, most are passed over: without a look at the page's word, which is
    // what that costs; and, as the background writer comes to them all, to be proposed first when
    // it has, so that each is passed over once. Something is in flight whose end the caller can
    // wait for.
    if (frame.state == FrameState::kResident && frame.dirty && !may_write) {
      if (!clean_ones_exist) return Verdict::kStop;
      return state.background_works() ? Verdict::kDefer : Verdict::kSkip;
    }
    const FrameTable::Capture capture(state.frames, index);
    if (state.frames.IsInFlight(index)) return Verdict::kSkip;
    const bool broken =
        Mutated(Mutation::kEvictPinned) || (Mutated(Mutation::kWriteWhileHeld) && frame.dirty);
    if (capture.busy().pinned() && !broken) {
      // Should the search come back with nothing, its caller waits for this one as well.
      state.frames.SetWanted(index);
      return Verdict::kSkip;
    }
    if (!frame.dirty) {
      state.Erase(index);
      FrameTable::Edit(state.frames, index)->state = FrameState::kFree;
      return Verdict::kTake;
    }
    // It was held by its word alone, which has changed what is clean, or found dirty just now.
    if (!may_write) return clean_ones_exist ? Verdict::kSkip : Verdict::kStop;
    if (capture.busy().write_failed && !retry_failed_) return Verdict::kSkip;
    const PageFile& file = state.FileOf(index);
    // Whoever closes a file, or its place in it, has waited for its last transfer.
    if (frame.closing || !file.poison.ok()) return Verdict::kSkip;
    if (!LogAllowsWrite(state, index)) return SkipWaiting(clean_ones_exist);
    if (file.area != nullptr && state.background_works()) {
      // Who starts it waits for the disk. That is not for one who wants a frame.
      if (!clean_ones_exist) state.writes_wanted = true;
      return SkipWaiting(clean_ones_exist);
    }
    if (!StartWrite(state, index, batch_).ok()) return Verdict::kSkip;
    ++writes_started_;
    ++state.counters.eviction_writes;
    return Verdict::kDefer;
  }

  // It is somebody else who has it written, or makes that possible.
  Verdict SkipWaiting(bool clean_ones_exist) {
    const bool enough = ++waiting_skips_ >= kWaitingSkipsPerSearch && !clean_ones_exist;
    return enough ? Verdict::kStop : Verdict::kSkip;
  }

  // The caller's own transfer goes in the same batch, if a clean page is going to be found.
  bool RoomForWrite(const CacheState& state, bool clean_ones_exist) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
    return batch_.room() > reserve_ && CanStart(state, batch_, clean_ones_exist ? reserve_ : 0);
  }

  const uint32_t reserve_;
  const bool retry_failed_;
  IoBatch& batch_;
  uint32_t writes_started_ = 0;
  uint32_t waiting_skips_ = 0;
};

// Nothing can be had but from pages whose last write failed.
bool OnlyFailingPagesAreLeft(const CacheState& state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  const FrameTable::Counts& counts = state.frames.counts();
  return counts.failing > 0 &&
         counts.free + counts.evictable + counts.writable + counts.in_flight == 0;
}

}  // namespace

FrameIndex TakeFrame(CacheState& state, uint32_t reserve, IoBatch& batch) {
  const FrameIndex free = state.frames.TakeFree();
  state.CallKeeper();
  if (free != kNoFrame) return free;
  const FrameTable::Counts& counts = state.frames.counts();
  const bool retry_failed =
      OnlyFailingPagesAreLeft(state) && state.environment->NowNs() >= state.retry_failed_at_ns();
  if (counts.evictable + counts.writable == 0 && !retry_failed) return kNoFrame;
  VictimSearch search(reserve, retry_failed, batch);
  FrameIndex victim = kNoFrame;
  for (int step = 0; step < kLeavingPerSearch; ++step) {
    if (search.Run(state, absl::MakeSpan(&victim, 1)) == 0) break;
    if (!state.frames.leaving(victim)) break;
    state.frames.PutFree(std::exchange(victim, kNoFrame));
  }
  state.CallWriter();
  if (retry_failed && search.writes_started() == 0) {
    // They are held by somebody, or their file takes no writes: not worth a look at once.
    state.search_failed_at_ns = state.environment->NowNs() + kFutileSearchPauseNs;
  }
  return victim;
}

size_t TakeFrames(CacheState& state, absl::Span<FrameIndex> out, uint32_t reserve, IoBatch& batch) {
  size_t count = 0;
  // What the keeper keeps free is for those who wait.
  while (count < out.size() && state.frames.available() > 2 * state.low_water) {
    out[count++] = state.frames.TakeFree();
  }
  const FrameTable::Counts& counts = state.frames.counts();
  if (count < out.size() && counts.evictable + counts.writable > 0) {
    VictimSearch search(reserve, /*retry_failed=*/false, batch);
    const absl::Span<FrameIndex> found = out.subspan(count, search.Run(state, out.subspan(count)));
    for (const FrameIndex victim : found) {
      if (state.frames.leaving(victim)) {
        state.frames.PutFree(victim);
      } else {
        out[count++] = victim;
      }
    }
  }
  while (count < out.size() && state.frames.available() > 0) {
    out[count++] = state.frames.TakeFree();
  }
  state.CallKeeper();
  return count;
}

size_t FreeFrames(CacheState& state, size_t count, IoBatch& batch) {
  // Few enough that nobody waits long for the lock.
  std::array<FrameIndex, 16> victims;
  const uint32_t left_to_others = std::min<uint32_t>(state.engine->depth() / 2, batch.room() / 2);
  VictimSearch search(left_to_others, /*retry_failed=*/false, batch);
  const size_t freed =
      search.Run(state, absl::MakeSpan(victims).first(std::min(count, victims.size())));
  for (const FrameIndex victim : absl::MakeSpan(victims).first(freed)) {
    state.frames.PutFree(victim);
  }
  return freed;
}

io::Deadline NextFrameRetry(const CacheState& state) {
  io::Deadline next = io::Deadline::Infinite();
  const LogOrder& order = state.log_order;
  if (!state.background_works() && order.wants() && !order.called() && order.retry_at_ns() > 0) {
    next = io::Deadline::AtNs(order.retry_at_ns());
  }
  if (!OnlyFailingPagesAreLeft(state)) return next;
  return std::min(next, io::Deadline::AtNs(state.retry_failed_at_ns()));
}

absl::Status NoFrameStatus(const CacheState& state, const PageId& page) {
  const FrameTable::Counts& counts = state.frames.counts();
  std::string message =
      absl::StrCat("no frame for ", state.NameOf(page), ": of ", state.frames.frame_count(),
                   " frames, ", counts.pinned, " are pinned by guards or waited for, ",
                   counts.dirty, " are dirty and ", counts.in_flight, " in flight");
  if (counts.failing > 0) {
    absl::StrAppend(&message, "; ", counts.failing, " of the dirty ones cannot be written");
    for (uint32_t i = 0; i < state.frames.size(); ++i) {
      const BusyFrame& busy = state.frames.Busy(FrameIndex{i});
      if (!state.frames[FrameIndex{i}].dirty || !busy.write_failed) continue;
      absl::StrAppend(&message, ", for one because of: ", busy.error.message());
      break;
    }
  }
  if (state.log_order.wants() && !state.log_order.error().ok()) {
    absl::StrAppend(&message, "; others wait for the log: ", state.log_order.error().message());
  }
  absl::StrAppend(&message,
                  ". Hold fewer guards at a time, give the cache more memory, or allow a longer "
                  "timeout");
  return absl::ResourceExhaustedError(message);
}

}  // namespace fixpool::storage
