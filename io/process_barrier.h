#ifndef FIXPOOL_IO_PROCESS_BARRIER_H_
#define FIXPOOL_IO_PROCESS_BARRIER_H_

#include "fixpool/io/require_cpp20.h"

namespace fixpool::io {

// A full memory barrier on all threads of the process at once.
//
//   if (ProcessBarrier::Register()) ...                      // once, before it is relied on
//   flag.store(1, relaxed); if (!ProcessBarrier::Run()) ...  // on the side that is rarely there
//   other.store(1, relaxed); atomic_signal_fence(seq_cst); flag.load(relaxed)    // on the other
//
// For two sides that each store and then load what the other stores, of which one runs so much
// more often that it should not pay for a barrier each time. Run costs half a microsecond while
// no other thread is running, and an interrupt of each CPU that runs one otherwise.
//
// Errors: false, if the kernel has no such thing (before Linux 4.14), or a filter of system calls
// forbids it; also under ThreadSanitizer, which does not know of it. It can be forbidden after it
// was registered. A forked child registers for itself.
// Threads: thread-safe.
// Source: membarrier(2), MEMBARRIER_CMD_PRIVATE_EXPEDITED.
class ProcessBarrier {
 public:
  // False: Run will not work. Repeating it is cheap.
  [[nodiscard]] static bool Register();

  // What any thread of the process did before this, in program order, is seen by all after it, and
  // what it does after, all see as done after. False: nothing of the kind is certain.
  [[nodiscard]] static bool Run();
};

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_PROCESS_BARRIER_H_
