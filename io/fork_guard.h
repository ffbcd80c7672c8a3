#ifndef FIXPOOL_IO_FORK_GUARD_H_
#define FIXPOOL_IO_FORK_GUARD_H_

#include <atomic>
#include <cstdint>

#include "absl/base/attributes.h"
#include "absl/base/optimization.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::io {

// Tells an object whether it is in the process that made it, or in a forked child of that.
//
//   class Engine {
//     absl::Status Submit() {
//       if (fork_guard_.forked()) return fork_guard_.Refusal("Engine::Submit");
//       ...
//     const ForkGuard fork_guard_;   // made with the object
//
// What a child inherits is of no use to it: rings answer to the process that made them, their
// memory is kept out of the child (MADV_DONTFORK), threads are not copied, and a lock that
// another thread held at that moment is held for ever. So an object asks before it takes a
// lock, and a destructor in a child leaves everything where it is. Objects that the child
// makes by itself are not concerned.
//
// How: each object keeps the number that its process had when it was made, and compares it
// with the process's number now, which stands in a page that the kernel wipes in every child
// (MADV_WIPEONFORK, Linux 4.14; where that is refused pthread_atfork(3) wipes it, which a bare
// clone(2) goes past). The number is 0 until the child makes an object of its own, and then
// one that no ancestor had. forked() is two loads and no system call; getpid(2) is one, and
// would give a child the number of a dead ancestor some day.
//
// A value: a copy goes with the process of the original. Thread-safe. Not fooled by vfork(2)
// and by threads, which share the memory: there nothing is forked.
// Source: madvise(2), fork(2).
class ForkGuard {
 public:
  // Of the process that runs this. Works before main() as well.
  ForkGuard() : number_(NumberOfThisProcess()) {}

  bool forked() const {
    return ABSL_PREDICT_FALSE(current_->load(std::memory_order_relaxed) != number_);
  }

  // FailedPrecondition: what `operation` answers where forked().
  ABSL_ATTRIBUTE_NOINLINE absl::Status Refusal(absl::string_view operation) const;

 private:
  static uint64_t NumberOfThisProcess();

  // Set before the first guard exists, and never again.
  static inline std::atomic<uint64_t>* current_ = nullptr;

  uint64_t number_;
};

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_FORK_GUARD_H_
