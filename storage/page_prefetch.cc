#include "fixpool/storage/page_prefetch.h"

#include "fixpool/storage/frame_supply.h"
#include "fixpool/storage/page_transfers.h"
#include "fixpool/storage/read_ahead.h"
#include "fixpool/storage/run_reader.h"

namespace fixpool::storage {
namespace {

absl::Status CheckFiles(const CacheState& state, absl::Span<const PageId> pages)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  for (const PageId& page : pages) {
    const PageFile* const file = state.files.Find(page.file);
    if (file == nullptr) return UnknownFileStatus(page.file);
    if (!file->poison.ok()) return file->poison;
  }
  return absl::OkStatus();
}

enum class Outcome { kStarted, kSkipped, kNoRoom, kNoFrame };

Outcome StartOne(CacheState& state, const PageId& page, IoBatch& batch)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  // The file may have been closed since it was checked, but only now, which is no error.
  const PageFile* const file = state.files.Find(page.file);
  if (file == nullptr || file->closing || page.page_number >= file->page_count ||
      file->changes.IsClosed(page.page_number)) {
    return Outcome::kSkipped;
  }
  // Found out just now: what was evicted may or may not have reached the disk.
  if (!file->poison.ok()) return Outcome::kSkipped;
  if (state.Find(page) != kNoFrame) return Outcome::kSkipped;
  if (!CanStart(state, batch)) return Outcome::kNoRoom;
  const absl::StatusOr<AtomicPageWord*> word = file->words->FindOrMake(page.page_number);
  if (!word.ok()) return Outcome::kSkipped;  // who asks for the page will be told
  const FrameIndex index = TakeFrame(state, 1, batch);
  if (index == kNoFrame) return Outcome::kNoFrame;
  {
    FrameTable::Edit frame(state.frames, index);
    frame->set_page(page);
    frame->state = FrameState::kLoading;
  }
  if (!StartRead(state, index, batch).ok()) {
    state.frames.PutFree(index);  // who asks for the page will be told
    return Outcome::kSkipped;
  }
  state.Insert(index, *word);
  state.policy->OnLoaded(index, page, Hint::kPrefetch);
  ++state.counters.prefetches;
  return Outcome::kStarted;
}

// How many of `pages`, from the first on, are adjacent and in order.
size_t AdjacentOf(absl::Span<const PageId> pages) {
  size_t count = 1;
  while (count < pages.size() && pages[count].file == pages[0].file &&
         pages[count].page_number == pages[0].page_number + count) {
    ++count;
  }
  return count;
}

// Who wishes for page after page scans, too.
void NoteStarted(CacheState& state, const PageId& first, uint64_t count, ReadAheadPlan& plan)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  PageFile* const file = state.files.Find(first.file);
  if (file == nullptr) return;
  NoteAccess(state, *file, first.page_number, ScanDetector::Access::kInFlight, plan, count);
}

// Starts reading `pages`, which are adjacent. False: there was no room, or no frame, for some.
bool StartAdjacent(CacheState& state, absl::Span<const PageId> pages, size_t& started,
                   ReadAheadPlan& plan) {
  const PageNumber first = pages.front().page_number;
  RunReader reader(state,
                   {.file = pages.front().file, .first = first, .end = first + pages.size()});
  IoBatch batch;
  RunReader::Step step;
  do {
    {
      io::MutexLock lock(state.mutex);
      reader.AssertLocked();
      const size_t before = reader.started();
      step = reader.Next(batch);
      state.counters.prefetches += reader.started() - before;
      if (step != RunReader::Step::kMore && reader.started() > 0) {
        NoteStarted(state, pages.front(), pages.size(), plan);
      }
    }
    Submit(state, batch);
  } while (step == RunReader::Step::kMore);
  started += reader.started();
  return step == RunReader::Step::kDone;
}

// Starts reading those of `pages` that come before two adjacent ones, and takes them off. False:
// there was no room, or no frame, for the first of what is left.
// Without `join` no two count as adjacent.
bool StartScattered(CacheState& state, absl::Span<const PageId>& pages, bool join, size_t& started,
                    ReadAheadPlan& plan) {
  IoBatch batch;
  Outcome outcome = Outcome::kSkipped;
  {
    io::MutexLock lock(state.mutex);
    while (!pages.empty() && !(join && pages.size() > 1 && AdjacentOf(pages.first(2)) == 2)) {
      outcome = StartOne(state, pages.front(), batch);
      if (outcome == Outcome::kNoRoom || outcome == Outcome::kNoFrame) break;
      if (outcome == Outcome::kStarted) {
        ++started;
        NoteStarted(state, pages.front(), 1, plan);
      }
      pages.remove_prefix(1);
    }
  }
  // A full batch goes out and another follows; a full engine is where it ends.
  const bool batch_was_full = batch.room() == 0;
  Submit(state, batch);
  return outcome != Outcome::kNoFrame && (outcome != Outcome::kNoRoom || batch_was_full);
}

}  // namespace

absl::StatusOr<size_t> PrefetchPages(CacheState& state, absl::Span<const PageId> pages) {
  {
    io::MutexLock lock(state.mutex);
    if (absl::Status status = CheckFiles(state, pages); !status.ok()) return status;
  }
  // Reads that have ended since may make frames available.
  state.reaper.Poll();
  bool join;
  {
    io::MutexLock lock(state.mutex);
    join = state.joined_reads.possible();
  }
  size_t started = 0;
  ReadAheadPlan plan;
  while (!pages.empty()) {
    if (!StartScattered(state, pages, join, started, plan)) break;
    const size_t adjacent = join && !pages.empty() ? AdjacentOf(pages) : 0;
    if (adjacent < 2) continue;
    if (!StartAdjacent(state, pages.first(adjacent), started, plan)) break;
    pages.remove_prefix(adjacent);
  }
  ReadAhead(state, plan);
  return started;
}

}  // namespace fixpool::storage
