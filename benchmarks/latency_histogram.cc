#include "benchmarks/latency_histogram.h"

#include <cmath>

namespace fixpool::benchmarks {

void LatencyHistogram::Merge(const LatencyHistogram& other) {
  for (size_t i = 0; i < kBuckets; ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  max_ns_ = std::max(max_ns_, other.max_ns_);
}

uint64_t LatencyHistogram::UpperBound(size_t bucket) {
  if (bucket < kSubBuckets) return bucket;
  const size_t shift = bucket / kSubBuckets - 1;
  const uint64_t value = bucket - shift * kSubBuckets;
  return ((value + 1) << shift) - 1;
}

uint64_t LatencyHistogram::Quantile(double fraction) const {
  if (count_ == 0) return 0;
  const double wanted = std::ceil(std::clamp(fraction, 0.0, 1.0) * static_cast<double>(count_));
  const uint64_t rank = std::clamp<uint64_t>(static_cast<uint64_t>(wanted), 1, count_);
  uint64_t seen = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    seen += counts_[i];
    // The last bucket has no upper bound but the maximum.
    if (seen >= rank) return i + 1 == kBuckets ? max_ns_ : std::min(UpperBound(i), max_ns_);
  }
  return max_ns_;
}

}  // namespace fixpool::benchmarks
