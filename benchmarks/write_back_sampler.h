#ifndef FIXPOOL_BENCHMARKS_WRITE_BACK_SAMPLER_H_
#define FIXPOOL_BENCHMARKS_WRITE_BACK_SAMPLER_H_

#include <atomic>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "benchmarks/worker_team.h"
#include "benchmarks/write_back_rates.h"
#include "benchmarks/write_back_workers.h"

namespace fixpool::benchmarks {

// Looks at a cache while others work: ends their warm-up, and then notes what is in flight, every
// ms, and what has been written, every 10 ms. How many pages are dirty it asks every 100 ms, and
// for
// --rate_trace alone: a cache looks at all its frames to answer, which would show in the CPU time
// of a run. One of the workers of a team.
class WriteBackSampler : public Worker {
 public:
  explicit WriteBackSampler(WriteBackStage& stage);

  // Until the warm-up is over, or has lasted as long as it may.
  absl::Status Prepare() override;
  absl::Status Work(const std::atomic<int64_t>& end_ns) override;

  // Whether the cache was full and the number of dirty pages steady when the warm-up ended.
  bool was_steady() const { return was_steady_; }
  absl::Span<const RateSample> samples() const { return samples_; }
  double mean_in_flight() const;
  uint64_t most_in_flight() const { return most_in_flight_; }

 private:
  RateSample Sample(uint64_t dirty) const;

  WriteBackStage& stage_;
  bool was_steady_ = false;
  std::vector<RateSample> samples_;
  uint64_t in_flight_sum_ = 0;
  uint64_t in_flight_samples_ = 0;
  uint64_t most_in_flight_ = 0;
};

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_WRITE_BACK_SAMPLER_H_
