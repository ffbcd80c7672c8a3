#ifndef FIXPOOL_BENCHMARKS_WRITE_BACK_WORKERS_H_
#define FIXPOOL_BENCHMARKS_WRITE_BACK_WORKERS_H_

#include <atomic>
#include <cstdint>
#include <limits>

#include "absl/status/status.h"
#include "benchmarks/latency_histogram.h"
#include "benchmarks/page_file.h"
#include "benchmarks/page_sequence.h"
#include "benchmarks/worker_team.h"
#include "benchmarks/write_back_options.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/storage/page_cache.h"

namespace fixpool::benchmarks {

// What all workers of RunWriteBack share.
struct WriteBackStage {
  const WriteBackOptions& options;
  const PageFile& page_file;
  storage::PageCache* cache;
  const io::IoEngine* engine;  // the cache's
  storage::FileId file;

  // The workers' Prepare is the warm-up, which lasts until NowNs() says so: the sampler ends it.
  std::atomic<int64_t> warm_up_end_ns{std::numeric_limits<int64_t>::max()};
  // Pages made dirty so far, those that were dirty before included.
  std::atomic<uint64_t> dirtied{0};
  // Reads that have ended.
  std::atomic<uint64_t> reads{0};
};

// When one of `threads` threads that do something `per_second` times a second in all does it next:
// at even distances, and not later because it was late once.
class Pace {
 public:
  struct Options {
    double per_second = 0;  // 0: at once, always
    uint32_t thread = 0;
    uint32_t threads = 1;
  };
  Pace(const Options& options, int64_t start_ns);

  // Sleeps until the next time has come, or the end: then false. 0, as the time: at once.
  bool WaitForNext(const std::atomic<int64_t>& end_ns, int64_t& due_ns);

 private:
  double step_ns_;
  double next_ns_;
};

// Makes random pages dirty.
class PageDirtier : public Worker {
 public:
  PageDirtier(WriteBackStage& stage, uint32_t thread);

  absl::Status Prepare() override;
  absl::Status Work(const std::atomic<int64_t>& end_ns) override;

  // What it took to get a page for changing.
  const LatencyHistogram& latency() const { return latency_; }
  // Of it, what went by in accesses that took longer than kHeldUpNs: the cache held them up.
  int64_t held_up_ns() const { return held_up_ns_; }

  // Far above what a page takes that can be had at once, below what any disk takes.
  static constexpr int64_t kHeldUpNs = 30'000;

 private:
  absl::Status DirtyUntil(const std::atomic<int64_t>& end_ns);
  absl::Status Dirty(uint64_t page);

  WriteBackStage& stage_;
  const Pace::Options pace_;
  PageSequence sequence_;
  LatencyHistogram latency_;
  int64_t held_up_ns_ = 0;
};

// Reads random pages that are not in memory.
class ColdReader : public Worker {
 public:
  ColdReader(WriteBackStage& stage, uint32_t thread);

  absl::Status Prepare() override;
  absl::Status Work(const std::atomic<int64_t>& end_ns) override;

  // From the call to the page, as fio counts.
  const LatencyHistogram& latency() const { return latency_; }
  // From the time when it was to begin: with what it was late.
  const LatencyHistogram& latency_from_due() const { return latency_from_due_; }
  // So that no compiler takes the look at a page for superfluous.
  uint64_t bytes_seen() const { return bytes_seen_; }

 private:
  absl::Status ReadUntil(const std::atomic<int64_t>& end_ns);
  uint64_t NextColdPage();

  WriteBackStage& stage_;
  const Pace::Options pace_;
  PageSequence sequence_;
  LatencyHistogram latency_;
  LatencyHistogram latency_from_due_;
  uint64_t bytes_seen_ = 0;
};

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_WRITE_BACK_WORKERS_H_
