#include "fixpool/storage/frame_keeper.h"

#include <cstddef>

#include "fixpool/io/mutex.h"
#include "fixpool/storage/frame_supply.h"
#include "fixpool/storage/io_batch.h"
#include "fixpool/storage/page_transfers.h"

namespace fixpool::storage {

FrameKeeper::FrameKeeper(CacheState* state, uint32_t low_water)
    : state_(*state), low_water_(low_water) {
  io::MutexLock lock(state_.mutex);
  state_.low_water = low_water;
}

FrameKeeper::Next FrameKeeper::Step() {
  IoBatch batch;
  Next next;
  {
    io::MutexLock lock(state_.mutex);
    state_.keeper_sleeps = false;
    calls_ = state_.keeper_calls.load();
    const uint32_t free = state_.frames.available();
    const size_t missing = 2 * low_water_ > free ? 2 * low_water_ - free : 0;
    const size_t freed = missing == 0 ? 0 : FreeFrames(state_, missing, batch);
    if (freed > 0) state_.FramesChanged();
    if (freed == missing) {
      next = Next::kWhenCalled;
    } else if (freed > 0) {
      next = Next::kAgain;
    } else {
      next = state_.frames.counts().in_flight > 0 ? Next::kWhenWritten : Next::kWhenCalled;
    }
    state_.keeper_sleeps = next == Next::kWhenCalled;
  }
  Submit(state_, batch);
  return next;
}

}  // namespace fixpool::storage
