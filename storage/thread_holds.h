#ifndef FIXPOOL_STORAGE_THREAD_HOLDS_H_
#define FIXPOOL_STORAGE_THREAD_HOLDS_H_

#include "fixpool/io/require_cpp20.h"

#include <cstdint>

namespace fixpool::storage {

// Who this thread is to a latch, and whether it holds any guard: what it takes to refuse a
// wait that could only end with itself.
//
// A guard counts for the thread that took it, wherever it is dropped. A thread that gave a
// guard away to another is thought to hold one for ever; the only price is that it does not
// queue behind waiting writers any more (see PageLatch).
// Each thread sees only its own; no synchronisation.
class ThreadHolds {
 public:
  // Of this thread: never 0, never another's, and such that sums of tokens do not collide.
  static uint64_t Token();
  // Whether this thread holds a guard of any cache.
  static bool Any();

  // This thread took a guard; a guard that `token` took is dropped, by this thread.
  static void Took();
  static void Dropped(uint64_t token);
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_THREAD_HOLDS_H_
