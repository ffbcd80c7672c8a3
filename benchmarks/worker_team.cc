#include "benchmarks/worker_team.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "benchmarks/support/process_cpu.h"

namespace fixpool::benchmarks {
namespace {

class Team {
 public:
  Team(const std::vector<std::unique_ptr<Worker>>& workers, const TeamOptions& options)
      : workers_(workers), options_(options) {}

  absl::StatusOr<Interval> Run() {
    std::vector<std::thread> threads;
    threads.reserve(workers_.size());
    for (const auto& worker : workers_) threads.emplace_back([this, &worker] { Live(*worker); });
    const Interval interval = Measure();
    for (std::thread& thread : threads) thread.join();
    if (!first_error_.ok()) return first_error_;
    return interval;
  }

 private:
  // A worker's thread.
  void Live(Worker& worker) {
    Record(worker.Prepare());
    {
      std::unique_lock<std::mutex> lock(mutex_);
      ++ready_;
      changed_.notify_all();
      changed_.wait(lock, [this] { return started_; });
      if (!all_prepared_) return;
    }
    Record(worker.Work(end_ns_));
  }

  void Record(absl::Status status) {
    if (status.ok()) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    if (first_error_.ok()) first_error_ = std::move(status);
    end_ns_.store(0, std::memory_order_relaxed);
    changed_.notify_all();
  }

  Interval Measure() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return ready_ == workers_.size(); });
    options_.at_start();
    const int64_t cpu_before_ns = ProcessCpuNs();
    const int64_t start_ns = NowNs();
    const auto length_ns = static_cast<int64_t>(options_.seconds * 1e9);
    all_prepared_ = first_error_.ok();
    if (all_prepared_) end_ns_.store(start_ns + length_ns, std::memory_order_relaxed);
    started_ = true;
    changed_.notify_all();
    // steady_clock is CLOCK_MONOTONIC, as NowNs() is.
    const std::chrono::steady_clock::time_point end{std::chrono::nanoseconds(start_ns + length_ns)};
    changed_.wait_until(lock, end, [this] { return !first_error_.ok(); });
    const int64_t cpu_ns = ProcessCpuNs() - cpu_before_ns;
    options_.at_end();
    return {.seconds = static_cast<double>(length_ns) / 1e9, .cpu_ns = cpu_ns};
  }

  const std::vector<std::unique_ptr<Worker>>& workers_;
  const TeamOptions& options_;
  std::atomic<int64_t> end_ns_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t ready_ = 0;           // guarded by mutex_
  bool started_ = false;       // guarded by mutex_
  bool all_prepared_ = false;  // guarded by mutex_, set with started_
  absl::Status first_error_;   // guarded by mutex_ while workers live
};

}  // namespace

absl::StatusOr<Interval> RunTeam(const std::vector<std::unique_ptr<Worker>>& workers,
                                 const TeamOptions& options) {
  return Team(workers, options).Run();
}

}  // namespace fixpool::benchmarks
