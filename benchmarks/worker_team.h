#ifndef FIXPOOL_BENCHMARKS_WORKER_TEAM_H_
#define FIXPOOL_BENCHMARKS_WORKER_TEAM_H_

#include <time.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fixpool::benchmarks {

// Nanoseconds of the monotonic clock. About 25 ns a call.
inline int64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

// The stretch of time in which operations count.
struct Interval {
  double seconds = 0;
  int64_t cpu_ns = 0;  // user and system, of the whole process
};

// What one thread of a run does. All three are called on that thread, in this order.
class Worker {
 public:
  virtual ~Worker() = default;
  // Gets ready; takes no part in what is measured.
  virtual absl::Status Prepare() = 0;
  // Works until NowNs() says `end_ns`, which moves to the past if another worker fails; an
  // error of its own it returns at once. Counts what is done by then, and leaves nothing in
  // flight.
  virtual absl::Status Work(const std::atomic<int64_t>& end_ns) = 0;
};

struct TeamOptions {
  double seconds = 1;
  // Called by the thread of RunTeam as the interval begins and ends, for counters.
  std::function<void()> at_start = [] {};
  std::function<void()> at_end = [] {};
};

// Runs each worker on its own thread: all are ready before the first one starts. Returns
// when all are done, with the interval, or the first error that any of them had; an error
// ends the interval for all.
absl::StatusOr<Interval> RunTeam(const std::vector<std::unique_ptr<Worker>>& workers,
                                 const TeamOptions& options);

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_WORKER_TEAM_H_
