#ifndef FIXPOOL_IO_THREAD_H_
#define FIXPOOL_IO_THREAD_H_

#include "fixpool/io/require_cpp20.h"

#include <pthread.h>

#include <functional>
#include <utility>

#include "absl/status/statusor.h"

namespace fixpool::io {

// A thread of the library: starts with all signals blocked, so that a program's signal
// handlers run on the program's threads alone, and reports a failed start as a Status
// (std::thread would throw).
//
//   absl::StatusOr<Thread> thread = Thread::Start("fixpool-io", [] { Work(); });
//   thread->Join();
//
// Move-only; must be joined or detached before it is destroyed (CHECK). Thread-compatible.
class [[nodiscard]] Thread {
 public:
  // `name` is shown by tools; at most 15 characters. ResourceExhausted: EAGAIN, no more
  // threads for this process or user.
  static absl::StatusOr<Thread> Start(const char* name, std::function<void()> body);

  Thread(Thread&& other) noexcept
      : handle_(other.handle_), running_(std::exchange(other.running_, false)) {}
  Thread& operator=(Thread&& other) = delete;
  ~Thread();

  void Join();
  // Lets it go on by itself: only for a thread that the kernel will not let finish.
  void Detach();

 private:
  explicit Thread(pthread_t handle) : handle_(handle) {}

  pthread_t handle_;
  bool running_ = true;
};

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_THREAD_H_
