#include "fixpool/storage/read_ahead.h"

#include <algorithm>
#include <utility>

#include "fixpool/io/mutex.h"
#include "fixpool/storage/file_scans.h"
#include "fixpool/storage/page_transfers.h"
#include "fixpool/storage/run_reader.h"

namespace fixpool::storage {
namespace {

// All that is read ahead for a scan has to fit, with what it has just used, into the part of the
// cache that pages pass through which are asked for once: a tenth, by S3-FIFO.
constexpr uint32_t kShareOfFrames = 16;

uint32_t LargestWindow(const CacheState& state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  return std::min(state.read_ahead_pages, state.frame_count.load() / kShareOfFrames);
}

// Null: it has been closed.
FileScans* ScansOf(CacheState& state, FileId id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  PageFile* const file = state.files.Find(id);
  return file == nullptr ? nullptr : file->scans.get();
}

// Where the scan comes among the pages [first, end) is to be noticed each plan.step pages.
void Mark(CacheState& state, FileScans& scans, const ReadAheadPlan& plan, PageNumber first,
          PageNumber end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  const PageNumber past = (first - plan.first) % plan.step;
  for (PageNumber page = past == 0 ? first : first + plan.step - past; page < end;
       page += plan.step) {
    const FrameIndex frame = state.Find({plan.file, page});
    if (frame != kNoFrame) scans.MarkPage(plan.scan, {plan.file, page}, frame, state.frames);
  }
  // A mark that gave way may have been on a page that somebody holds.
  state.FramesChanged();
}

// One step of it, after which it is at work no more if that is not kMore.
RunReader::Step NextStep(CacheState& state, RunReader& reader, const ReadAheadPlan& plan,
                         IoBatch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  reader.AssertLocked();
  const PageNumber next = reader.next();
  const size_t started = reader.started();
  const RunReader::Step step = reader.Next(batch);
  state.counters.read_ahead += reader.started() - started;
  FileScans* const scans = ScansOf(state, plan.file);
  if (scans == nullptr) return step;
  Mark(state, *scans, plan, next, reader.next());
  if (step == RunReader::Step::kStuck) {
    scans->detector().TakeBack(plan.scan, {.first = plan.first, .end = plan.end}, reader.next());
  }
  return step;
}

}  // namespace

void NoteAccess(CacheState& state, PageFile& file, PageNumber page, ScanDetector::Access access,
                ReadAheadPlan& plan, uint64_t count) {
  // With frames as scarce as that, others have more use for them.
  if (file.scans == nullptr || state.frame_waiters > 0 || !plan.empty()) return;
  const ScanDetector::Note note = file.scans->OnAccess(
      {file.id, page}, access,
      {.largest_window = LargestWindow(state), .page_count = file.page_count}, count, state.frames);
  if (!note.ahead.has_value()) return;
  plan = {.file = file.id,
          .scan = note.scan,
          .first = note.ahead->first,
          .end = note.ahead->end,
          .step = note.ahead->step};
}

void ReadAhead(CacheState& state, ReadAheadPlan& plan) {
  if (plan.empty()) return;
  const ReadAheadPlan mine = std::exchange(plan, ReadAheadPlan());
  RunReader reader(state, {.file = mine.file,
                           .first = mine.first,
                           .end = mine.end,
                           .reserve = state.engine->depth() / 4});
  IoBatch batch;
  RunReader::Step step;
  do {
    {
      io::MutexLock lock(state.mutex);
      step = NextStep(state, reader, mine, batch);
    }
    Submit(state, batch);
  } while (step == RunReader::Step::kMore);
}

}  // namespace fixpool::storage
