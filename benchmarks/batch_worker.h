#ifndef FIXPOOL_BENCHMARKS_BATCH_WORKER_H_
#define FIXPOOL_BENCHMARKS_BATCH_WORKER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "benchmarks/cache_worker.h"
#include "fixpool/storage/page_id.h"

namespace fixpool::benchmarks {

// Uses its pages in the order of its sequence, depth / 8 at a time, and then has Prefetch start
// as many new reads as keep `depth` transfers for each thread in flight. At depth 1 there is
// nothing to ask for ahead, and every miss is waited for.
//
// A page's latency is the time from being asked for to being used, read off the clock once a
// batch; since pages arrive in any order and are used in one, some of it may be the wait for
// others.
class BatchWorker final : public CacheWorker {
 public:
  BatchWorker(const CacheStage& stage, uint32_t thread);

  absl::Status Prepare() override;
  // What is in flight at its end the cache takes in by itself.
  absl::Status Work(const std::atomic<int64_t>& end_ns) override;

 private:
  struct Wanted {
    uint64_t page = 0;
    int64_t asked_ns = 0;
    bool is_write = false;
  };

  // How many pages may be asked for and not used.
  static size_t WindowOf(const CacheStage& stage);
  size_t Wrapped(size_t index) const {
    return index < wanted_.size() ? index : index - wanted_.size();
  }
  // Has the cache start to read as many new pages as there is room for in flight and in the
  // window. There is at least one page to use afterwards.
  absl::Status AskForMore(int64_t now_ns);
  absl::Status Use(const Wanted& wanted);

  const size_t batch_;
  // A ring. The wanted_count_ pages from oldest_ on have been asked for and not been used.
  std::vector<Wanted> wanted_;
  size_t oldest_ = 0;
  size_t wanted_count_ = 0;
  std::vector<storage::PageId> asked_;  // for one call of Prefetch
};

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_BATCH_WORKER_H_
