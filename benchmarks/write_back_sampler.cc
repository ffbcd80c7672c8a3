#include "benchmarks/write_back_sampler.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <limits>
#include <thread>

#include "fixpool/io/io_engine.h"
#include "fixpool/storage/page_cache.h"

namespace fixpool::benchmarks {
namespace {

constexpr int64_t kMillisecondNs = 1'000'000;
constexpr int64_t kSampleNs = 10 * kMillisecondNs;
constexpr int64_t kLookNs = 100 * kMillisecondNs;  // at all frames

// steady_clock is CLOCK_MONOTONIC, as NowNs() is.
void SleepUntil(int64_t when_ns) {
  std::this_thread::sleep_until(
      std::chrono::steady_clock::time_point(std::chrono::nanoseconds(when_ns)));
}

// Whether a number that is told every now and then has come to rest: the means of its last three
// stretches differ by no more than a tenth. Three, since it is flat where it turns, too.
class RestDetector {
 public:
  void Add(uint64_t number) { numbers_[count_++ % numbers_.size()] = number; }
  bool at_rest() const {
    if (count_ < numbers_.size()) return false;
    std::array<uint64_t, 3> sums{};
    for (size_t i = 0; i < numbers_.size(); ++i) {
      sums[i / kStretch] += numbers_[(count_ + i) % numbers_.size()];
    }
    const auto [least, most] = std::minmax_element(sums.begin(), sums.end());
    return *most - *least <= *most / 10;
  }

 private:
  static constexpr size_t kStretch = 10;  // a second each
  std::array<uint64_t, 3 * kStretch> numbers_{};
  size_t count_ = 0;
};

}  // namespace

WriteBackSampler::WriteBackSampler(WriteBackStage& stage) : stage_(stage) {
  const double samples = stage.options.run.seconds * 1e9 / double{kSampleNs};
  samples_.reserve(static_cast<size_t>(std::min(samples, 1e6)) + 2);
}

RateSample WriteBackSampler::Sample(uint64_t dirty) const {
  const io::EngineCounters counters = stage_.engine->Report().counters;
  // One after the other, while all of them change.
  const uint64_t not_written =
      stage_.engine->in_flight() + stage_.reads.load(std::memory_order_relaxed);
  const uint64_t begun = counters.fixed_transfers + counters.plain_transfers;
  const uint64_t before = samples_.empty() ? 0 : samples_.back().written;
  return {.at_ns = NowNs(),
          .dirtied = stage_.dirtied.load(std::memory_order_relaxed),
          .written = std::max(before, begun - std::min(begun, not_written)),
          .dirty = dirty};
}

absl::Status WriteBackSampler::Prepare() {
  RestDetector dirty;
  int64_t now_ns = NowNs();
  const int64_t latest_ns = now_ns + static_cast<int64_t>(stage_.options.warm_up_seconds * 1e9);
  while (now_ns < latest_ns && !was_steady_) {
    SleepUntil(std::min(now_ns + kLookNs, latest_ns));
    const storage::CacheStats stats = stage_.cache->Stats();
    dirty.Add(stats.dirty_frames);
    const bool full = stats.free_frames <= stats.frame_count / 32;
    was_steady_ = full && dirty.at_rest();
    now_ns = NowNs();
  }
  stage_.warm_up_end_ns.store(0, std::memory_order_relaxed);
  return absl::OkStatus();
}

absl::Status WriteBackSampler::Work(const std::atomic<int64_t>& end_ns) {
  uint64_t dirty = stage_.cache->Stats().dirty_frames;
  samples_.push_back(Sample(dirty));
  int64_t next_ns = samples_.back().at_ns;
  int64_t next_sample_ns = next_ns + kSampleNs;
  int64_t next_look_ns =
      stage_.options.rate_trace.empty() ? std::numeric_limits<int64_t>::max() : next_ns + kLookNs;
  while (true) {
    next_ns += kMillisecondNs;
    SleepUntil(next_ns);
    const int64_t now_ns = NowNs();
    if (now_ns > end_ns.load(std::memory_order_relaxed)) break;
    next_ns = std::max(next_ns, now_ns - kMillisecondNs);  // what was slept through is gone
    const uint64_t in_flight = stage_.engine->in_flight();
    in_flight_sum_ += in_flight;
    ++in_flight_samples_;
    most_in_flight_ = std::max(most_in_flight_, in_flight);
    if (now_ns < next_sample_ns) continue;
    if (now_ns >= next_look_ns) {
      dirty = stage_.cache->Stats().dirty_frames;
      next_look_ns = now_ns + kLookNs;
    }
    samples_.push_back(Sample(dirty));
    next_sample_ns = std::max(next_sample_ns + kSampleNs, now_ns);
  }
  return absl::OkStatus();
}

double WriteBackSampler::mean_in_flight() const {
  if (in_flight_samples_ == 0) return 0;
  return static_cast<double>(in_flight_sum_) / static_cast<double>(in_flight_samples_);
}

}  // namespace fixpool::benchmarks
