#include "fixpool/storage/frame_keeper.h"

#include <cstddef>

#include "fixpool/io/mutex.h"
#include "fixpool/storage/frame_supply.h"
#include "fixpool/storage/io_batch.h"
#include "fixpool/storage/page_transfers.h"

namespace fixpool::storage {

FrameKeeper::Next FrameKeeper::Step() {
  IoBatch batch;
  Next next;
  {
    io::MutexLock lock(state_.mutex);
    state_.keeper_sleeps = false;
    calls_ = state_.background_calls.load();
    const uint32_t wanted = 2 * state_.low_water;
    const uint32_t free = state_.frames.available();
    const size_t evicted = wanted > free ? FreeFrames(state_, wanted - free, batch) : 0;
    if (evicted > 0) state_.FramesChanged();
    if (state_.frames.available() >= wanted) {
      next = Next::kWhenCalled;
    } else if (evicted > 0) {
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
