#include "benchmarks/latency_histogram.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "benchmarks/page_sequence.h"
#include "gtest/gtest.h"

namespace fixpool::benchmarks {
namespace {

TEST(LatencyHistogramTest, AnswersZeroWhileEmpty) {
  const LatencyHistogram histogram;
  EXPECT_EQ(histogram.count(), 0u);
  EXPECT_EQ(histogram.max_ns(), 0u);
  EXPECT_EQ(histogram.Quantile(0.5), 0u);
  EXPECT_EQ(histogram.Quantile(1), 0u);
}

TEST(LatencyHistogramTest, IsExactForOneValue) {
  for (const uint64_t value :
       {uint64_t{0}, uint64_t{1}, uint64_t{63}, uint64_t{64}, uint64_t{65}, uint64_t{81'234},
        LatencyHistogram::kLimitNs - 1, LatencyHistogram::kLimitNs, ~uint64_t{0}}) {
    LatencyHistogram histogram;
    histogram.Record(value);
    EXPECT_EQ(histogram.Quantile(0), value);
    EXPECT_EQ(histogram.Quantile(0.5), value);
    EXPECT_EQ(histogram.Quantile(0.999), value);
    EXPECT_EQ(histogram.max_ns(), value);
  }
}

TEST(LatencyHistogramTest, CountsSmallValuesOneByOne) {
  LatencyHistogram histogram;
  for (uint64_t value = 0; value < 64; ++value) histogram.Record(value);
  for (uint64_t rank = 1; rank <= 64; ++rank) {
    EXPECT_EQ(histogram.Quantile(static_cast<double>(rank) / 64), rank - 1);
  }
}

TEST(LatencyHistogramTest, IsNeverTooLowAndAtMostOneSixtyFourthTooHigh) {
  constexpr uint64_t kSeed = 20240607;
  SCOPED_TRACE(kSeed);
  FastRandom random(kSeed);
  LatencyHistogram histogram;
  std::vector<uint64_t> values;
  for (int i = 0; i < 20'000; ++i) {
    // All magnitudes alike.
    values.push_back(random.Next() >> (25 + random.Below(39)));
    histogram.Record(values.back());
  }
  std::sort(values.begin(), values.end());
  for (const double fraction : {0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    const auto rank = static_cast<size_t>(fraction * static_cast<double>(values.size()));
    const uint64_t exact = values[rank - 1];
    EXPECT_GE(histogram.Quantile(fraction), exact) << fraction;
    EXPECT_LE(histogram.Quantile(fraction), exact + exact / 64 + 1) << fraction;
  }
}

TEST(LatencyHistogramTest, QuantilesGrowAndEndAtTheMaximum) {
  FastRandom random(3);
  LatencyHistogram histogram;
  for (int i = 0; i < 1000; ++i) histogram.Record(50'000 + random.Below(1'000'000));
  uint64_t before = 0;
  for (double fraction = 0; fraction <= 1; fraction += 0.001) {
    EXPECT_GE(histogram.Quantile(fraction), before);
    before = histogram.Quantile(fraction);
  }
  EXPECT_EQ(histogram.Quantile(1), histogram.max_ns());
}

TEST(LatencyHistogramTest, MergeIsTheSameAsRecordingAll) {
  LatencyHistogram all, a, b;
  for (uint64_t i = 0; i < 1000; ++i) {
    all.Record(i * i);
    (i % 3 == 0 ? a : b).Record(i * i);
  }
  a.Merge(b);
  EXPECT_EQ(a.count(), all.count());
  EXPECT_EQ(a.max_ns(), all.max_ns());
  for (const double fraction : {0.1, 0.5, 0.99}) {
    EXPECT_EQ(a.Quantile(fraction), all.Quantile(fraction));
  }
}

}  // namespace
}  // namespace fixpool::benchmarks
