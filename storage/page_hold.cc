#include "fixpool/storage/page_hold.h"

#include <utility>

#include "fixpool/io/mutex.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/thread_holds.h"

namespace fixpool::storage {

PageHold::PageHold(CacheState* state, FrameIndex frame, const PageId& page, PageLatch::Mode mode,
                   uint64_t token)
    : state_(state),
      data_(state->DataOf(frame)),
      page_(page),
      token_(token),
      size_bytes_(state->page_bytes),
      frame_(frame),
      mode_(mode) {}

PageHold::PageHold(PageHold&& other) noexcept
    : state_(std::exchange(other.state_, nullptr)),
      data_(other.data_),
      page_(other.page_),
      token_(other.token_),
      size_bytes_(other.size_bytes_),
      frame_(other.frame_),
      mode_(other.mode_),
      marked_dirty_(other.marked_dirty_) {}

PageHold& PageHold::operator=(PageHold&& other) noexcept {
  if (this == &other) return *this;
  Release();
  state_ = std::exchange(other.state_, nullptr);
  data_ = other.data_;
  page_ = other.page_;
  token_ = other.token_;
  size_bytes_ = other.size_bytes_;
  frame_ = other.frame_;
  mode_ = other.mode_;
  marked_dirty_ = other.marked_dirty_;
  return *this;
}

void PageHold::MarkDirty() {
  // While this hold lasts nobody writes the page back, so once is enough.
  if (marked_dirty_ || state_->fork_guard.forked()) return;
  marked_dirty_ = true;
  io::MutexLock lock(state_->mutex);
  FrameTable::Edit(state_->frames, frame_)->dirty = true;
}

void PageHold::Release() {
  CacheState* const state = std::exchange(state_, nullptr);
  if (state == nullptr) return;
  ThreadHolds::Dropped(token_);
  if (state->fork_guard.forked()) return;
  io::MutexLock lock(state->mutex);
  bool wake;
  {
    FrameTable::Edit frame(state->frames, frame_);
    wake = mode_ == PageLatch::Mode::kShared ? frame->latch.ReleaseShared(token_)
                                             : frame->latch.ReleaseExclusive();
  }
  wake |= state->frame_waiters > 0 && !state->frames[frame_].pinned();
  // Under the lock: whoever sees the page free may be about to destroy the cache.
  if (wake) state->reaper.Signal();
}

}  // namespace fixpool::storage
