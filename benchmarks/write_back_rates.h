#ifndef FIXPOOL_BENCHMARKS_WRITE_BACK_RATES_H_
#define FIXPOOL_BENCHMARKS_WRITE_BACK_RATES_H_

#include <cstdint>
#include <string>

#include "absl/types/span.h"

namespace fixpool::benchmarks {

// What a cache had done by a moment. Counts only grow.
// What was written is counted in transfers, of which a few are of several pages: the engine tells
// their number for next to nothing, while CacheStats take a look at all frames.
struct RateSample {
  int64_t at_ns = 0;
  uint64_t dirtied = 0;  // pages made dirty
  uint64_t written = 0;  // transfers that wrote and have ended
  uint64_t dirty = 0;    // pages, when last looked at
};

// How evenly that went on. Functions of samples in the order of time.

// The standard deviation of what was written in each stretch of `stretch_ns`, by their mean. The
// stretches are made of whole samples, each as long as it takes to be as long as that, and what is
// written counts by the time that it really took. 0: there are less than two of them, or nothing
// was written.
double VariationOfWrites(absl::Span<const RateSample> samples, int64_t stretch_ns);

// The longest time between samples in which no write ended, with dirty pages at the beginning of
// each interval of it. Too long by less than an interval at either end, where writes ended.
int64_t LongestPauseNs(absl::Span<const RateSample> samples);

// A line of names, and one for each sample but the first: milliseconds since that one, what was
// dirtied and written since the sample before, and what is dirty.
std::string RateTrace(absl::Span<const RateSample> samples);

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_WRITE_BACK_RATES_H_
