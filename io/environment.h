#ifndef FIXPOOL_IO_ENVIRONMENT_H_
#define FIXPOOL_IO_ENVIRONMENT_H_

#include "fixpool/io/require_cpp20.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace fixpool::io {

// A point on the monotonic clock of an Environment. Wall-clock jumps do not move it.
class Deadline {
 public:
  static constexpr Deadline Infinite() {
    return Deadline(std::numeric_limits<int64_t>::max());
  }
  // Already over: turns a waiting call into a try.
  static constexpr Deadline Past() { return Deadline(std::numeric_limits<int64_t>::min()); }
  static constexpr Deadline AtNs(int64_t monotonic_ns) { return Deadline(monotonic_ns); }

  constexpr int64_t ns() const { return ns_; }
  constexpr bool is_infinite() const { return *this == Infinite(); }
  friend constexpr auto operator<=>(Deadline, Deadline) = default;

 private:
  explicit constexpr Deadline(int64_t ns) : ns_(ns) {}
  int64_t ns_;
};

enum class Severity { kInfo, kWarning, kError };

// Receives what the library has to say. It never prints by itself. Called from any
// thread, possibly several at once, with no lock of the library held; must not call
// back into the library.
using MessageSink = std::function<void(Severity, absl::string_view)>;

// Everything that would make a run unrepeatable, in one place: the clock, sleeping
// and waking, randomness, and the way out for messages.
//
//   auto environment = Environment::CreateReal({.sink = MyLog});
//   FixedBufferRegistry::Create({.environment = environment.get()});
//
// Objects of the library keep a plain pointer to their Environment: it must outlive
// them. Default() lives for ever. Thread-safe. A simulator brings its own subclass
// and so decides what time it is and who runs next.
class Environment {
 public:
  virtual ~Environment() = default;

  struct RealOptions {
    // Where messages go. Default: nowhere.
    MessageSink sink = nullptr;
  };
  static std::unique_ptr<Environment> CreateReal(RealOptions options);
  // The real clock, the real kernel, no sink.
  static Environment* Default();

  // Monotonic, nanoseconds.
  virtual int64_t NowNs() = 0;

  // Blocks while `word` holds `expected`, until Wake(word) or the deadline. May
  // return early for no reason: the caller looks again at what it waits for. Source
  // of the contract: futex(2), FUTEX_WAIT.
  virtual void Wait(const std::atomic<uint32_t>& word, uint32_t expected, Deadline deadline) = 0;
  // Wakes all who wait on `word`. The caller has changed `word` before.
  virtual void Wake(const std::atomic<uint32_t>& word) = 0;

  // 64 random bits.
  virtual uint64_t Random() = 0;

  virtual void Report(Severity severity, absl::string_view message) = 0;

  // Saturates: an infinite or enormous timeout is Deadline::Infinite().
  Deadline DeadlineAfter(absl::Duration timeout);
  bool Expired(Deadline deadline) { return !deadline.is_infinite() && NowNs() >= deadline.ns(); }
};

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_ENVIRONMENT_H_
