#ifndef FIXPOOL_BENCHMARKS_RUN_RESULT_H_
#define FIXPOOL_BENCHMARKS_RUN_RESULT_H_

#include <cstdint>

#include "benchmarks/in_force.h"
#include "benchmarks/latency_histogram.h"
#include "benchmarks/worker_team.h"

namespace fixpool::benchmarks {

// Pages as the cache counted them in the measured interval; all 0 for layer engine.
struct CacheCounts {
  uint64_t hits = 0;
  uint64_t misses = 0;
  uint64_t evictions = 0;
  uint64_t writes = 0;
  uint64_t kernel_enters = 0;  // see io::EngineCounters
  double mean_in_flight = 0;   // transfers, at moments all over the interval
};

// What came out of one run.
struct RunResult {
  uint64_t operations = 0;  // completed within the interval
  Interval interval;
  LatencyHistogram latency;  // of these operations
  InForce in_force;
  // Transfers of all threads together. Less than --depth and --threads say where the device
  // takes no more at a time.
  uint64_t most_in_flight = 0;
  CacheCounts cache;
};

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_RUN_RESULT_H_
