#include "fixpool/io/environment.h"

#include <linux/futex.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <ctime>
#include <utility>

namespace fixpool::io {
namespace {

timespec ToTimespec(int64_t ns) {
  return timespec{.tv_sec = static_cast<time_t>(ns / 1'000'000'000),
                  .tv_nsec = static_cast<long>(ns % 1'000'000'000)};
}

// splitmix64 over a counter that starts at a random point: no lock, and no two callers
// get the same number.
uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

class RealEnvironment final : public Environment {
 public:
  explicit RealEnvironment(RealOptions options) : sink_(std::move(options.sink)) {
    uint64_t seed = 0;
    // With 8 bytes getrandom(2) returns all or, very early at boot, an error; the clock
    // then does.
    if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed)) {
      seed = static_cast<uint64_t>(NowNs());
    }
    random_.store(seed, std::memory_order_relaxed);
  }

  int64_t NowNs() override {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  }

  void Wait(const std::atomic<uint32_t>& word, uint32_t expected, Deadline deadline) override {
    // A deadline in the past would be a negative timespec, which the kernel refuses.
    const timespec until = ToTimespec(deadline.ns() < 0 ? 0 : deadline.ns());
    // FUTEX_WAIT_BITSET takes an absolute CLOCK_MONOTONIC time. Every failure (the word
    // changed, a signal, time is up) is a reason to return and look again.
    syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, expected,
            deadline.is_infinite() ? nullptr : &until, nullptr, FUTEX_BITSET_MATCH_ANY);
  }

  void Wake(const std::atomic<uint32_t>& word) override {
    syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
  }

  uint64_t Random() override {
    return Mix(random_.fetch_add(0x9e3779b97f4a7c15u, std::memory_order_relaxed));
  }

  void Report(Severity severity, absl::string_view message) override {
    if (sink_) sink_(severity, message);
  }

 private:
  const MessageSink sink_;
  std::atomic<uint64_t> random_;
};

static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t), "the futex word is the atomic");

}  // namespace

std::unique_ptr<Environment> Environment::CreateReal(RealOptions options) {
  return std::make_unique<RealEnvironment>(std::move(options));
}

Environment* Environment::Default() {
  static Environment* const environment = new RealEnvironment({});
  return environment;
}

Deadline Environment::DeadlineAfter(absl::Duration timeout) {
  if (timeout <= absl::ZeroDuration()) return Deadline::Past();
  const int64_t now_ns = NowNs();
  const int64_t timeout_ns = absl::ToInt64Nanoseconds(timeout);  // saturates
  if (timeout_ns >= std::numeric_limits<int64_t>::max() - now_ns) return Deadline::Infinite();
  return Deadline::AtNs(now_ns + timeout_ns);
}

}  // namespace fixpool::io
