#include "tests/simulation/cache_inspector.h"

#include "absl/strings/str_cat.h"
#include "fixpool/io/mutex.h"
#include "fixpool/io/region_id.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/frame.h"

namespace fixpool::storage {

using simulation::Invariant;
using simulation::Verdict;

namespace {

// Of a page that is resident.
bool IsHeld(const CacheState& state, FrameIndex index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  return state.frames.IsPinnedOrHeld(index);
}

bool IsHeldExclusively(const CacheState& state, FrameIndex index)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  return Load(*state.frames.WordOf(index)).closed();
}

// That anybody who needs one could have.
bool HasFrame(const CacheState& state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  if (state.frames.available() > 0) return true;
  for (uint32_t i = 0; i < state.frames.size(); ++i) {
    const FrameIndex index{i};
    const Frame& frame = state.frames[index];
    if (frame.state != FrameState::kResident || frame.dirty || frame.closing) continue;
    if (state.frames.leaving(index) || state.frames.IsInFlight(index)) continue;
    if (!IsHeld(state, index)) return true;
  }
  return false;
}

}  // namespace

// What one walk over all frames found.
struct CacheInspector::Tally {
  FrameTable::Counts counts;
  uint32_t frames = 0;
  uint32_t listed = 0;   // free, and not leaving
  uint32_t loading = 0;  // with a read in flight
  uint32_t writing = 0;
  uint32_t named = 0;  // by a word that leads there
  const char* wrong = nullptr;

  void Take(const CacheState& state, FrameIndex index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
    const Frame& frame = state.frames[index];
    const BusyFrame& busy = state.frames.Busy(index);
    if (frame.state == FrameState::kHole) return;
    ++frames;
    const AtomicPageWord* const word = state.frames.WordOf(index);
    if (word != nullptr) {
      ++named;
      const PageWord seen = Load(*word);
      if (!seen.present() || seen.frame() != index) wrong = "a frame's page is found elsewhere";
    }
    switch (frame.state) {
      case FrameState::kHole:
        break;
      case FrameState::kFree:
        ++counts.free;
        if (!state.frames.leaving(index)) ++listed;
        if (word != nullptr || frame.dirty) wrong = "a free frame has a page";
        break;
      case FrameState::kLoading:
        ++counts.in_flight;
        if (!busy.read_failed) ++loading;
        if (busy.read_failed && busy.attached == 0) wrong = "a failed read's frame is never freed";
        if (busy.read_failed != (word == nullptr)) wrong = "a page being read is not found";
        break;
      case FrameState::kResident:
        if (busy.latch.write_back()) ++writing;
        if (word == nullptr) wrong = "a page in memory is not found";
        ++(busy.latch.write_back() ? counts.in_flight : frame.dirty ? counts.dirty : counts.clean);
        break;
    }
  }
};

CacheInspector::CacheInspector(PageCache* cache) : state_(*cache->hit_path_.state()) {}

void CacheInspector::CheckTables(
    absl::Span<const Known> files,
    absl::Span<const std::unique_ptr<simulation::SimTransfer>> transfers, Verdict* verdict) const {
  uint32_t reads = 0;
  uint32_t writes = 0;
  const auto count = [&reads, &writes](const io::IoRequest& request) {
    // Copies in a double-write area, and what is done with them.
    if (request.region == io::RegionId::kUnregistered) return;
    const uint32_t pieces = std::max<uint32_t>(1, static_cast<uint32_t>(request.pieces.size()));
    if (request.operation == io::IoOperation::kRead) reads += pieces;
    if (request.operation == io::IoOperation::kWrite) writes += pieces;
  };
  for (const auto& transfer : transfers) count(transfer->request);

  io::MutexLock lock(state_.mutex);
  Tally tally;
  for (uint32_t i = 0; i < state_.frames.size(); ++i) tally.Take(state_, FrameIndex{i});
  uint32_t found = 0;
  for (const Known& known : files) {
    const FileWords* const words = state_.files.at(known.file).words;
    for (PageNumber page = 0; page < known.pages; ++page) {
      const AtomicPageWord* const word = words->FindAny(page);
      if (word == nullptr || !Load(*word).present()) continue;
      ++found;
      const Frame& frame = state_.frames[Load(*word).frame()];
      if (!frame.HoldsPageOf(known.file) || frame.page_number() != page) {
        tally.wrong = "a page is found in a frame that holds another";
      }
    }
  }
  if (!verdict->Check(Invariant::kOnePlace, tally.wrong == nullptr && found == tally.named)) {
    verdict->Fail(
        Invariant::kOnePlace,
        absl::StrCat(tally.wrong == nullptr ? "pages and frames do not match" : tally.wrong, " (",
                     found, " pages are found, ", tally.named, " frames named)"));
  }
  for (const io::IoRequest& request : state_.collected.requests()) count(request);
  const FrameTable::Counts& counts = state_.frames.counts();
  const bool right =
      counts.free == tally.counts.free && counts.clean == tally.counts.clean &&
      counts.dirty == tally.counts.dirty && counts.in_flight == tally.counts.in_flight &&
      state_.frames.frame_count() == tally.frames && state_.frames.available() == tally.listed;
  if (!verdict->Check(Invariant::kFrameCounts, right)) {
    verdict->Fail(
        Invariant::kFrameCounts,
        absl::StrCat("counted ", counts.free, " free, ", counts.clean, " clean, ", counts.dirty,
                     " dirty, ", counts.in_flight, " in flight, ", state_.frames.available(),
                     " to be had; there are ", tally.counts.free, ", ", tally.counts.clean, ", ",
                     tally.counts.dirty, ", ", tally.counts.in_flight, ", ", tally.listed));
  }
  const size_t begun = transfers.size() + state_.collected.size();
  if (!verdict->Check(Invariant::kOneCompletion, begun == state_.transfers &&
                                                     tally.loading == reads &&
                                                     tally.writing == writes)) {
    verdict->Fail(
        Invariant::kOneCompletion,
        absl::StrCat("the cache waits for ", state_.transfers, " transfers, for ", tally.loading,
                     " pages to be read and ", tally.writing, " to be written; the engine has ",
                     begun, ", ", reads, ", ", writes));
  }
}

void CacheInspector::CheckHeld(absl::Span<const Held* const> held, Verdict* verdict) const {
  if (held.empty()) return;
  io::MutexLock lock(state_.mutex);
  for (const Held* const one : held) {
    const char* wrong = nullptr;
    const PageFile* const file = state_.files.Find(one->page.file);
    const FrameIndex index = file == nullptr ? kNoFrame : state_.Find(one->page);
    if (index == kNoFrame) {
      wrong = "is not in memory any more";
    } else if (state_.DataOf(index) != one->data) {
      wrong = "is in another frame";
    } else if (state_.frames[index].state != FrameState::kResident) {
      wrong = "is being read";
    } else if (!IsHeld(state_, index)) {
      wrong = "is not latched";
    } else if (IsHeldExclusively(state_, index) != one->exclusive) {
      wrong = one->exclusive ? "is shared" : "is somebody else's alone";
    }
    if (!verdict->Check(Invariant::kHeldInPlace, wrong == nullptr)) {
      verdict->Fail(Invariant::kHeldInPlace,
                    absl::StrCat(one->page.ToString(), " is held, and ", wrong));
    }
    const bool written =
        wrong == nullptr && one->exclusive && state_.frames.Busy(index).latch.write_back();
    if (!verdict->Check(Invariant::kNobodyChangesWrite, !written)) {
      verdict->Fail(Invariant::kNobodyChangesWrite,
                    absl::StrCat(one->page.ToString(), " is written while it is changed"));
    }
  }
}

void CacheInspector::CheckWaiters(Verdict* verdict) const {
  io::MutexLock lock(state_.mutex);
  const char* wrong = nullptr;
  for (uint32_t i = 0; i < state_.frames.size(); ++i) {
    const FrameIndex index{i};
    const Frame& frame = state_.frames[index];
    const BusyFrame& busy = state_.frames.Busy(index);
    if (busy.attached == 0) continue;
    if (frame.state == FrameState::kLoading) {
      if (busy.read_failed) wrong = "has not heard that the read has failed";
    } else if (!busy.latch.held() && !busy.latch.write_back()) {
      wrong = "has not heard that the page is free";
    }
  }
  if (state_.waiters.someone_waits_for_transfers() && state_.transfers < state_.engine->depth()) {
    wrong = "has not heard that the engine has room";
  }
  if (state_.waiters.someone_waits_for_frames() && HasFrame(state_)) {
    wrong = "has not heard of a frame that it could have";
  }
  if (verdict->Check(Invariant::kWaiterTold, wrong == nullptr)) return;
  verdict->Fail(Invariant::kWaiterTold,
                absl::StrCat("of ", state_.waiters.size(), " tasks that wait one ", wrong, " (",
                             state_.transfers, " of ", state_.engine->depth(), " transfers, ",
                             state_.frames.available(), " free frames)"));
}

std::optional<CacheInspector::Sample> CacheInspector::SampleOf(uint64_t number) const {
  io::MutexLock lock(state_.mutex);
  if (state_.frames.size() == 0) return std::nullopt;
  const FrameIndex index{static_cast<uint32_t>(number % state_.frames.size())};
  const Frame& frame = state_.frames[index];
  if (frame.state != FrameState::kResident || IsHeldExclusively(state_, index)) {
    return std::nullopt;
  }
  const bool clean = !frame.dirty && !state_.frames.Busy(index).latch.write_back();
  return Sample{.page = state_.PageIn(index), .data = state_.DataOf(index), .clean = clean};
}

bool CacheInspector::IsInMemory(const PageId& page) const {
  io::MutexLock lock(state_.mutex);
  return state_.Find(page) != kNoFrame;
}

bool CacheInspector::IsBeingWritten(const PageId& page) const {
  io::MutexLock lock(state_.mutex);
  const FrameIndex index = state_.Find(page);
  if (index == kNoFrame || state_.frames[index].state != FrameState::kResident) return false;
  return state_.frames.Busy(index).latch.write_back() && !IsHeldExclusively(state_, index);
}

bool CacheInspector::HasFrameAtHand() const {
  io::MutexLock lock(state_.mutex);
  return HasFrame(state_);
}

bool CacheInspector::IsThrottled() const {
  io::MutexLock lock(state_.mutex);
  return state_.throttled;
}

size_t CacheInspector::CountWaiters() const {
  io::MutexLock lock(state_.mutex);
  return state_.waiters.size();
}

size_t CacheInspector::MakeFreeFramesStale() {
  io::MutexLock lock(state_.mutex);
  size_t count = 0;
  for (uint32_t i = 0; i < state_.frames.size(); ++i) {
    if (state_.frames[FrameIndex{i}].state != FrameState::kFree) continue;
    if (state_.arena->Free(state_.frames.HandleOf(FrameIndex{i})).ok()) ++count;
  }
  return count;
}

}  // namespace fixpool::storage
