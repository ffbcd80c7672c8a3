#ifndef FIXPOOL_BENCHMARKS_WRITE_BACK_RUNNER_H_
#define FIXPOOL_BENCHMARKS_WRITE_BACK_RUNNER_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "benchmarks/in_force.h"
#include "benchmarks/latency_histogram.h"
#include "benchmarks/page_file.h"
#include "benchmarks/worker_team.h"
#include "benchmarks/write_back_options.h"
#include "benchmarks/write_back_rates.h"
#include "fixpool/storage/cache_stats.h"

namespace fixpool::benchmarks {

// What a run of write_back found out. A value.
struct WriteBackResult {
  Interval interval;
  InForce in_force;
  // What the cache did in the interval; its counts of frames are those at the end.
  storage::CacheStats cache;
  uint64_t transfers = 0;  // of the engine in the interval, reads and writes
  uint64_t kernel_enters = 0;
  uint64_t dirtied = 0;       // pages, some of which were dirty before
  LatencyHistogram dirtying;  // see PageDirtier
  int64_t held_up_ns = 0;     // of all writers
  LatencyHistogram reads;     // see ColdReader
  LatencyHistogram reads_from_due;
  uint32_t writer_depth = 0;  // writes of the background writer in flight at most
  double mean_in_flight = 0;  // transfers, reads and writes
  uint64_t most_in_flight = 0;
  bool was_steady = false;  // when the interval began
  std::vector<RateSample> samples;

  // Transfers that wrote.
  uint64_t write_transfers() const { return transfers - std::min(transfers, cache.reads); }
};

// Changes and reads pages of `file` as the options say, and flushes it. Unimplemented: an engine
// or pages were required that cannot be had. Internal: pages were dirty after a flush that went
// well. Else the errors of the parts and the cache.
absl::StatusOr<WriteBackResult> RunWriteBack(const WriteBackOptions& options, const PageFile& file);

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_WRITE_BACK_RUNNER_H_
