#ifndef FIXPOOL_BENCHMARKS_CACHE_WORKER_H_
#define FIXPOOL_BENCHMARKS_CACHE_WORKER_H_

#include <cstdint>

#include "absl/status/status.h"
#include "benchmarks/latency_histogram.h"
#include "benchmarks/page_file.h"
#include "benchmarks/page_io_options.h"
#include "benchmarks/page_ledger.h"
#include "benchmarks/page_sequence.h"
#include "benchmarks/worker_team.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/storage/page_cache.h"

namespace fixpool::benchmarks {

// What all workers of RunCache share.
struct CacheStage {
  const PageIoOptions& options;
  const PageFile& page_file;
  PageLedger* ledger;  // null: nothing is verified
  storage::PageCache* cache;
  const io::IoEngine* engine;  // the cache's
  uint64_t most_in_flight;     // of all threads
  storage::FileId file;
};

// One thread of RunCache: which pages it uses, and what it does with one that it has. How it
// keeps many in flight is for those that derive from it.
class CacheWorker : public Worker {
 public:
  CacheWorker(const CacheStage& stage, uint32_t thread);

  const LatencyHistogram& latency() const { return latency_; }
  // So that no compiler takes the look at a page for superfluous.
  uint64_t bytes_seen() const { return bytes_seen_; }
  // Transfers in flight, of all threads, added up over `samples()` moments.
  uint64_t in_flight_sum() const { return in_flight_sum_; }
  uint64_t samples() const { return samples_; }

 protected:
  storage::PageId IdOf(uint64_t page) const { return {stage_.file, page}; }
  // Looks at a page, or changes it, and checks it against the ledger if there is one.
  absl::Status Look(const storage::ReadGuard& guard, uint64_t page);
  absl::Status Change(storage::WriteGuard& guard, uint64_t page);

  // Counts what is in flight now, and returns it.
  uint64_t SampleInFlight() {
    const uint64_t in_flight = stage_.engine->in_flight();
    in_flight_sum_ += in_flight;
    ++samples_;
    return in_flight;
  }

  const CacheStage& stage_;
  PageSequence sequence_;
  LatencyHistogram latency_;

 private:
  uint64_t writes_ = 0;
  uint64_t bytes_seen_ = 0;
  uint64_t in_flight_sum_ = 0;
  uint64_t samples_ = 0;
};

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_CACHE_WORKER_H_
