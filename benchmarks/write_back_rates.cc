#include "benchmarks/write_back_rates.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "absl/strings/str_format.h"

namespace fixpool::benchmarks {

double VariationOfWrites(absl::Span<const RateSample> samples, int64_t stretch_ns) {
  std::vector<double> rates;
  size_t begin = 0;
  for (size_t i = 1; i < samples.size(); ++i) {
    const int64_t length_ns = samples[i].at_ns - samples[begin].at_ns;
    // Nobody sleeps to the nanosecond.
    if (length_ns < stretch_ns - stretch_ns / 20) continue;
    rates.push_back(static_cast<double>(samples[i].written - samples[begin].written) /
                    static_cast<double>(length_ns));
    begin = i;
  }
  if (rates.size() < 2) return 0;
  const auto count = static_cast<double>(rates.size());
  double mean = 0, squares = 0;
  for (const double rate : rates) mean += rate / count;
  for (const double rate : rates) squares += (rate - mean) * (rate - mean);
  return mean > 0 ? std::sqrt(squares / (count - 1)) / mean : 0;
}

int64_t LongestPauseNs(absl::Span<const RateSample> samples) {
  int64_t longest_ns = 0;
  size_t begin = 0;
  for (size_t i = 1; i < samples.size(); ++i) {
    if (samples[i].written != samples[i - 1].written || samples[i - 1].dirty == 0) {
      begin = i;
      continue;
    }
    longest_ns = std::max(longest_ns, samples[i].at_ns - samples[begin].at_ns);
  }
  return longest_ns;
}

std::string RateTrace(absl::Span<const RateSample> samples) {
  std::string text = "ms dirtied written dirty\n";
  for (size_t i = 1; i < samples.size(); ++i) {
    absl::StrAppendFormat(&text, "%.1f %d %d %d\n",
                          static_cast<double>(samples[i].at_ns - samples[0].at_ns) / 1e6,
                          samples[i].dirtied - samples[i - 1].dirtied,
                          samples[i].written - samples[i - 1].written, samples[i].dirty);
  }
  return text;
}

}  // namespace fixpool::benchmarks
