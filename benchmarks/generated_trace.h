#ifndef FIXPOOL_BENCHMARKS_GENERATED_TRACE_H_
#define FIXPOOL_BENCHMARKS_GENERATED_TRACE_H_

#include <cstdint>
#include <vector>

#include "benchmarks/page_sequence.h"
#include "benchmarks/page_trace.h"

namespace fixpool::benchmarks {

// Numbers of which few are frequent: that of rank r (from 0) with a probability in proportion to
// 1 / (r + 1)^exponent. A value; thread-compatible.
class ZipfDistribution {
 public:
  // `limit` is at least 1.
  ZipfDistribution(uint32_t limit, double exponent);
  // 0 to limit - 1.
  uint32_t Next(FastRandom& random) const;

 private:
  std::vector<double> cumulative_;
};

// For those who have no trace.
enum class Workload {
  // 10,000 pages. Zipf 0.99 over 2,000 of them, 200,000 times; in the middle half of it each is
  // followed by four of a scan that goes over the others again and again.
  kZipfScan,
  // 1,100 pages, in order, 200 times: more than 1,000 frames can hold, by a tenth.
  kLoop,
  // Transactions in the manner of TPC-C on 4 warehouses: each looks at pages of a
  // few small and hot tables, walks an index, takes rows of large tables unevenly, appends to the
  // end of growing ones, some of which are read back later, and writes what it changed.
  kTpcc,
};

// The same seed gives the same trace.
PageTrace GenerateTrace(Workload workload, uint64_t seed);

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_GENERATED_TRACE_H_
