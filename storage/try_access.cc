#include "fixpool/storage/try_access.h"

#include "fixpool/io/mutex.h"
#include "fixpool/storage/thread_holds.h"

namespace fixpool::storage {
namespace {

bool MayAccess(const PageFile* file, PageLatch::Mode mode) {
  if (file == nullptr || file->closing) return false;
  return mode == PageLatch::Mode::kShared || (!file->file->read_only() && file->poison.ok());
}

// The frame of the page, latched; kNoFrame: not now.
FrameIndex TryLatch(CacheState& state, const PageId& page, PageLatch::Mode mode, Hint hint)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  if (!MayAccess(state.files.Find(page.file), mode)) return kNoFrame;
  const FrameIndex index = state.Find(page);
  if (index == kNoFrame || state.frames[index].state != FrameState::kResident) return kNoFrame;
  if (mode == PageLatch::Mode::kExclusive && !state.frames[index].dirty && state.MustNotDirty()) {
    return kNoFrame;
  }
  const PageLatch::Caller caller{
      .guards_of_this_page = ThreadHolds::CountOf(state.frames.WordOf(index)),
      .holds_guards = ThreadHolds::Any()};
  FrameTable::Edit frame(state.frames, index);
  if (frame.busy().latch.Try(mode, caller) != PageLatch::Answer::kGranted) return kNoFrame;
  frame.busy().watched = false;
  state.policy->Hit(index, hint);
  ++state.counters.hits;
  return index;
}

}  // namespace

std::optional<PageHold> TryAccessPage(CacheState& state, const PageId& page, PageLatch::Mode mode,
                                      Hint hint) {
  FrameIndex frame;
  AtomicPageWord* word;
  {
    io::MutexLock lock(state.mutex);
    frame = TryLatch(state, page, mode, hint);
    if (frame == kNoFrame) return std::nullopt;
    word = state.frames.WordOf(frame);
  }
  return PageHold(&state, word, state.DataOf(frame), page, state.page_bytes, Load(*word), mode);
}

}  // namespace fixpool::storage
