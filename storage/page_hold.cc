#include "fixpool/storage/page_hold.h"

#include "fixpool/io/mutex.h"
#include "fixpool/storage/cache_state.h"

namespace fixpool::storage {

void PageHold::MarkDirty() {
  CacheState* const state = state_;
  // While this hold lasts nobody writes the page back, so once is enough.
  if (state->fork_guard.forked() || state->IsDirtyUnderMyLatch(frame_)) return;
  io::MutexLock lock(state->mutex);
  state->frames.MarkDirty(frame_);
}

bool PageHold::TryReleaseExclusive(CacheState* state) {
  PageWord seen(word_->load(std::memory_order_relaxed));
  if (seen.guarded()) return false;
  state->words.epoch().Published(seen.Opened().version());
  uint64_t bits = seen.bits();
  // Fails only if it has been guarded since.
  while (!word_->compare_exchange_weak(bits, seen.Opened().bits(), std::memory_order_release,
                                       std::memory_order_relaxed)) {
    if (PageWord(bits).guarded()) return false;
  }
  return true;
}

void PageHold::Downgrade() {
  mode_ = PageLatch::Mode::kShared;
  CacheState* const state = state_;
  if (state->fork_guard.forked()) return;
  io::MutexLock lock(state->mutex);
  bool wake;
  {
    FrameTable::Edit frame(state->frames, frame_);
    wake = frame.busy().latch.Downgrade();
  }
  if (wake) state->PageChanged(frame_);
}

bool PageHold::TryUpgrade() {
  CacheState* const state = state_;
  if (state->fork_guard.forked()) return false;
  io::MutexLock lock(state->mutex);
  const PageFile& file = state->files.at(page_.file);
  if (file.file->read_only() || !file.poison.ok()) return false;
  FrameTable::Edit frame(state->frames, frame_);
  if (!frame.busy().latch.TryUpgrade()) return false;
  mode_ = PageLatch::Mode::kExclusive;
  return true;
}

void PageHold::ReleaseSlowly(CacheState* state) {
  if (state->fork_guard.forked()) return;
  io::MutexLock lock(state->mutex);
  bool wake;
  {
    FrameTable::Edit frame(state->frames, frame_);
    PageLatch& latch = frame.busy().latch;
    wake = mode_ == PageLatch::Mode::kShared ? latch.ReleaseShared() : latch.ReleaseExclusive();
  }
  // Under the lock: whoever sees the page free may be about to destroy the cache.
  if (wake) state->PageChanged(frame_);
  if (!state->frames.IsPinned(frame_)) state->FramesChanged();
}

}  // namespace fixpool::storage
