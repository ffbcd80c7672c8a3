#include "fixpool/storage/page_hold.h"

#include "fixpool/io/mutex.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/mutation.h"

namespace fixpool::storage {

PageHint PageHold::hint() const {
  const uint64_t epoch = state_->words.epoch().Now();
  const PageWord now = Load(*word_);
  const uint32_t version =
      mode_ == PageLatch::Mode::kExclusive ? now.Opened().version() : now.version();
  return PageHint(page_, now.frame(), version, epoch);
}

bool PageHold::UnchangedSince(const PageHint& hint) const {
  const PageWord now = Load(*word_);
  return hint.page() == page_ && hint.frame() == now.frame() && hint.version() == now.version() &&
         state_->words.epoch().Vouches(hint.epoch());
}

Lsn PageHold::lsn() const { return state_->lsns.page(bits_.frame()); }

void PageHold::RaiseLsn(Lsn lsn) {
  if (lsn == Lsn::kNone || state_->fork_guard.forked()) return;
  FrameLsns& lsns = state_->lsns;
  lsns.StartUsing();
  MarkDirty();
  lsns.RaisePage(bits_.frame(), lsn);
  // The record may have come before the page was dirty.
  const Lsn first_dirty = lsns.first_dirty(bits_.frame());
  if (first_dirty == Lsn::kNone || lsn < first_dirty) lsns.set_first_dirty(bits_.frame(), lsn);
}

void PageHold::MarkDirty() {
  CacheState* const state = state_;
  // While this hold lasts nobody writes the page back, so once is enough.
  if (state->fork_guard.forked() || state->IsDirtyUnderMyLatch(bits_.frame())) return;
  if (Mutated(Mutation::kForgetDirty)) return;
  const Lsn first_dirty = state->log_order.NextLsn();
  io::MutexLock lock(state->mutex);
  state->frames.MarkDirty(bits_.frame());
  state->NoteDirty(bits_.frame(), first_dirty);
}

// As TryReleaseShared. The version stays what it is while the page is closed.
bool PageHold::TryReleaseExclusive(CacheState* state, AtomicPageWord* word, PageWord expected) {
  uint64_t bits = expected.bits();
  if (PageWord(bits).guarded()) return false;
  state->words.epoch().Published(PageWord(bits).Opened().version());
  while (!word->compare_exchange_weak(bits, PageWord(bits).Opened().bits(),
                                      std::memory_order_release, std::memory_order_relaxed)) {
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
    FrameTable::Edit frame(state->frames, bits_.frame());
    wake = frame.busy().latch.Downgrade();
  }
  bits_ = Load(*word_);  // another version
  if (wake) state->PageChanged(bits_.frame());
}

bool PageHold::TryUpgrade() {
  CacheState* const state = state_;
  if (state->fork_guard.forked()) return false;
  io::MutexLock lock(state->mutex);
  const PageFile& file = state->files.at(page_.file);
  if (file.file->read_only() || !file.poison.ok()) return false;
  if (!state->frames[bits_.frame()].dirty && state->MustNotDirty()) return false;
  FrameTable::Edit frame(state->frames, bits_.frame());
  if (!frame.busy().latch.TryUpgrade()) return false;
  mode_ = PageLatch::Mode::kExclusive;
  return true;
}

void PageHold::ReleaseSlowly(CacheState* state, FrameIndex index, PageLatch::Mode mode) {
  if (state->fork_guard.forked()) return;
  io::MutexLock lock(state->mutex);
  bool wake;
  {
    FrameTable::Edit frame(state->frames, index);
    PageLatch& latch = frame.busy().latch;
    wake = mode == PageLatch::Mode::kShared ? latch.ReleaseShared() : latch.ReleaseExclusive();
  }
  // Under the lock: whoever sees the page free may be about to destroy the cache.
  if (wake) state->PageChanged(index);
  if (!state->frames.IsPinned(index)) state->FramesChanged();
}

}  // namespace fixpool::storage
