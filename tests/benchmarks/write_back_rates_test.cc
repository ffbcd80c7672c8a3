#include "benchmarks/write_back_rates.h"

#include <vector>

#include "gtest/gtest.h"

namespace fixpool::benchmarks {
namespace {

constexpr int64_t kMs = 1'000'000;

// Samples every 10 ms, of which each tells how much was written since the one before.
std::vector<RateSample> SamplesOf(const std::vector<uint64_t>& written) {
  std::vector<RateSample> samples = {{.at_ns = 7, .dirtied = 0, .written = 1000, .dirty = 5}};
  for (const uint64_t more : written) {
    RateSample next = samples.back();
    next.at_ns += 10 * kMs;
    next.dirtied += 3;
    next.written += more;
    samples.push_back(next);
  }
  return samples;
}

TEST(WriteBackRatesTest, EvenRatesDoNotVary) {
  EXPECT_NEAR(VariationOfWrites(SamplesOf(std::vector<uint64_t>(100, 8)), 100 * kMs), 0, 1e-9);
}

TEST(WriteBackRatesTest, VariationIsThatOfStretchesAndNotOfSamples) {
  std::vector<uint64_t> written;
  for (int i = 0; i < 40; ++i) written.push_back(i % 2 == 0 ? 16 : 0);
  EXPECT_NEAR(VariationOfWrites(SamplesOf(written), 100 * kMs), 0, 1e-9);
  // Of 16 and 0: a mean of 8, and twenty deviations of 8 to either side.
  EXPECT_NEAR(VariationOfWrites(SamplesOf(written), 10 * kMs), 1.0127, 0.0001);
}

TEST(WriteBackRatesTest, NothingWrittenAndNothingSampledVaryByNothing) {
  EXPECT_EQ(VariationOfWrites({}, 10 * kMs), 0);
  EXPECT_EQ(VariationOfWrites(SamplesOf({4}), 10 * kMs), 0);
  EXPECT_EQ(VariationOfWrites(SamplesOf({0, 0, 0}), 10 * kMs), 0);
}

TEST(WriteBackRatesTest, APauseIsBetweenWrites) {
  EXPECT_EQ(LongestPauseNs({}), 0);
  EXPECT_EQ(LongestPauseNs(SamplesOf({1, 1, 1})), 0);
  EXPECT_EQ(LongestPauseNs(SamplesOf({1, 0, 1, 0, 0, 0, 1, 0})), 30 * kMs);
  EXPECT_EQ(LongestPauseNs(SamplesOf({1, 0, 0})), 20 * kMs);
}

TEST(WriteBackRatesTest, WithNothingDirtyItIsNoPause) {
  std::vector<RateSample> samples = SamplesOf({1, 0, 0, 0, 0, 1});
  samples[2].dirty = 0;
  samples[3].dirty = 0;
  EXPECT_EQ(LongestPauseNs(samples), 10 * kMs);
}

TEST(WriteBackRatesTest, TraceHasALineForEachSample) {
  EXPECT_EQ(RateTrace(SamplesOf({4, 0})),
            "ms dirtied written dirty\n"
            "10.0 3 4 5\n"
            "20.0 3 0 5\n");
}

}  // namespace
}  // namespace fixpool::benchmarks
