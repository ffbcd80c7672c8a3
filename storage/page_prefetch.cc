#include "fixpool/storage/page_prefetch.h"

#include "fixpool/storage/frame_supply.h"
#include "fixpool/storage/page_transfers.h"

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
  if (file == nullptr || file->closing || page.page_number >= file->page_count) {
    return Outcome::kSkipped;
  }
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

}  // namespace

absl::StatusOr<size_t> PrefetchPages(CacheState& state, absl::Span<const PageId> pages) {
  {
    io::MutexLock lock(state.mutex);
    if (absl::Status status = CheckFiles(state, pages); !status.ok()) return status;
  }
  // Reads that have ended since may make frames available.
  state.reaper.Poll();
  size_t started = 0;
  IoBatch batch;
  while (!pages.empty()) {
    Outcome outcome = Outcome::kSkipped;
    {
      io::MutexLock lock(state.mutex);
      while (!pages.empty()) {
        outcome = StartOne(state, pages.front(), batch);
        if (outcome == Outcome::kNoRoom || outcome == Outcome::kNoFrame) break;
        if (outcome == Outcome::kStarted) ++started;
        pages.remove_prefix(1);
      }
    }
    // A full batch goes out and another follows; a full engine is where it ends.
    const bool batch_was_full = batch.room() == 0;
    Submit(state, batch);
    if (outcome == Outcome::kNoFrame || (outcome == Outcome::kNoRoom && !batch_was_full)) break;
  }
  return started;
}

}  // namespace fixpool::storage
