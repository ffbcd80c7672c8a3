#ifndef FIXPOOL_BENCHMARKS_LATENCY_HISTOGRAM_H_
#define FIXPOOL_BENCHMARKS_LATENCY_HISTOGRAM_H_

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace fixpool::benchmarks {

// How long things took, in nanoseconds, as counts in buckets.
//
//   LatencyHistogram histogram;
//   histogram.Record(81'000);
//   uint64_t p99_ns = histogram.Quantile(0.99);
//
// Shape: log-linear. Below 64 ns a bucket holds one value; above, each doubling is cut
// into 64 buckets, so a quantile is at most 1/64 too high and never too low. Values from
// kLimitNs up (18 minutes) share the last bucket; the maximum is exact in any case.
// About 18 KiB, all inside the object: recording allocates nothing and takes a few ns.
// Threads: thread-compatible. Give each thread its own and Merge them.
class LatencyHistogram {
 public:
  static constexpr uint64_t kLimitNs = uint64_t{1} << 40;

  void Record(uint64_t latency_ns) {
    ++counts_[BucketOf(latency_ns)];
    ++count_;
    max_ns_ = std::max(max_ns_, latency_ns);
  }

  void Merge(const LatencyHistogram& other);

  uint64_t count() const { return count_; }
  uint64_t max_ns() const { return max_ns_; }

  // The smallest bucket bound such that at least `fraction` (0 to 1) of the values are not
  // above it, and never more than max_ns(). Grows with `fraction`. 0 if nothing was recorded.
  uint64_t Quantile(double fraction) const;

 private:
  static constexpr unsigned kSubBits = 6;
  static constexpr size_t kSubBuckets = size_t{1} << kSubBits;
  // Row 0 for values below kSubBuckets, then one row for each doubling up to kLimitNs.
  static constexpr size_t kRows = 1 + 40 - kSubBits;
  static constexpr size_t kBuckets = kRows * kSubBuckets;

  static size_t BucketOf(uint64_t latency_ns) {
    const uint64_t value = std::min(latency_ns, kLimitNs - 1);
    if (value < kSubBuckets) return static_cast<size_t>(value);
    const unsigned shift = static_cast<unsigned>(std::bit_width(value)) - 1 - kSubBits;
    // value >> shift is in [kSubBuckets, 2 * kSubBuckets).
    return shift * kSubBuckets + static_cast<size_t>(value >> shift);
  }
  // The largest value that falls into `bucket`.
  static uint64_t UpperBound(size_t bucket);

  std::array<uint64_t, kBuckets> counts_{};
  uint64_t count_ = 0;
  uint64_t max_ns_ = 0;
};

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_LATENCY_HISTOGRAM_H_
