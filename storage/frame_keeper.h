#ifndef FIXPOOL_STORAGE_FRAME_KEEPER_H_
#define FIXPOOL_STORAGE_FRAME_KEEPER_H_

#include <cstdint>

#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/cache_state.h"

namespace fixpool::storage {

// Keeps some frames of a cache free, so that a miss need not look for one: evicts pages a few at a
// time, in the order that the replacement policy wants, and has dirty ones written before.
//
//   FrameKeeper keeper(&state);
//   while (keeper.Step() == FrameKeeper::Next::kAgain) {}
//
// Called for when fewer than the low-water mark are free (CacheState::CallKeeper), it goes on until
// there are twice as many. The mark moves with the number of frames. That nothing can be evicted is
// no error: those who miss find that out for themselves, and wait or fail. A step is short, waits
// for nothing and takes the lock once. Whoever runs the steps (KeeperThread; a test) decides when.
// One at a time. Outlived by the state.
class FrameKeeper {
 public:
  enum class Next : uint8_t {
    kAgain,        // there is more to do
    kWhenWritten,  // when some transfer has ended
    kWhenCalled,   // when CacheState::background_calls is not calls() any more
  };

  explicit FrameKeeper(CacheState* state) : state_(*state) {}
  FrameKeeper(const FrameKeeper&) = delete;
  FrameKeeper& operator=(const FrameKeeper&) = delete;

  Next Step();
  // What CacheState::background_calls was in the last step.
  uint32_t calls() const { return calls_; }

 private:
  CacheState& state_;
  uint32_t calls_ = 0;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_FRAME_KEEPER_H_
