#ifndef FIXPOOL_BENCHMARKS_POLICY_REPLAY_H_
#define FIXPOOL_BENCHMARKS_POLICY_REPLAY_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "benchmarks/page_trace.h"
#include "fixpool/io/mutex.h"
#include "fixpool/storage/access_options.h"
#include "fixpool/storage/policy_kind.h"
#include "fixpool/storage/replacement_policy.h"

namespace fixpool::benchmarks {

// What a replacement policy makes of a sequence of references: the cache's own policy, and an
// array of frames in place of memory and disk.
//
//   PolicyReplay replay({.policy = PolicyKind::kS3Fifo, .frames = 1000, .pages = 50'000});
//   PolicyReplay::Tally tally;                           // one for each thread
//   bool hit = replay.Reference(42, tally);
//   replay.Write(42);                                    // dirty now, if it is in memory
//   double miss_ratio = replay.ResultOf(tally).miss_ratio();
//
// Shape: pages are 0 to pages - 1. A dirty page that is to be evicted is deferred, as the cache
// does, and clean by the time of the next miss.
// Threads: thread-safe. A hit takes no lock (but for LRU's), a miss does.
class PolicyReplay {
 public:
  struct Options {
    storage::PolicyKind policy = storage::PolicyKind::kS3Fifo;
    uint32_t frames = 1;
    uint64_t pages = 1;  // fewer than 2^32
  };
  struct Result {
    uint64_t references = 0;
    uint64_t misses = 0;
    uint64_t hits_written = 0;  // hits after which the policy had written something down
    uint64_t evictions = 0;
    uint64_t page_writes = 0;  // of dirty pages that were to be evicted
    uint64_t frames_examined = 0;

    double miss_ratio() const { return Per(misses, references); }
    double writes_per_hit() const { return Per(hits_written, references - misses); }
    double frames_examined_per_eviction() const { return Per(frames_examined, evictions); }

   private:
    static double Per(uint64_t a, uint64_t b) {
      return b == 0 ? 0 : static_cast<double>(a) / static_cast<double>(b);
    }
  };
  // What one thread has counted; the sum of all makes a Result.
  struct Tally {
    uint64_t references = 0;
    uint64_t hits_written = 0;
  };

  explicit PolicyReplay(const Options& options);

  // Whether the page was in memory.
  bool Reference(uint64_t page, Tally& tally, storage::Hint hint = storage::Hint::kNormal) {
    ++tally.references;
    const uint32_t frame = frame_of_[page].load(std::memory_order_relaxed);
    if (frame == kNowhere) return !BringIn(page, hint, tally);
    // The page may leave meanwhile: a hit too many for another, as in the cache.
    if (policy_->Hit(storage::FrameIndex{frame}, hint)) ++tally.hits_written;
    return true;
  }
  void Write(uint64_t page);

  Result ResultOf(const Tally& tally) const;
  double metadata_bytes_per_frame() const {
    return static_cast<double>(policy_->metadata_bytes()) / frames_;
  }

 private:
  static constexpr uint32_t kNowhere = storage::ToInt(storage::kNoFrame);
  struct Frame {
    uint32_t page = 0;
    bool dirty = false;
  };

  bool BringIn(uint64_t page, storage::Hint hint, Tally& tally);
  uint32_t TakeFrame() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndWrites() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  static storage::PageId IdOf(uint64_t page) { return {storage::FileId(0, 1), page}; }

  const uint32_t frames_;
  const std::unique_ptr<storage::ReplacementPolicy> policy_;
  std::vector<std::atomic<uint32_t>> frame_of_;  // by page; kNowhere
  mutable io::Mutex mutex_;
  std::vector<Frame> frame_ ABSL_GUARDED_BY(mutex_);
  std::vector<uint32_t> in_flight_ ABSL_GUARDED_BY(mutex_);  // frames being written
  uint32_t used_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t misses_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t evictions_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t page_writes_ ABSL_GUARDED_BY(mutex_) = 0;
};

// All of a trace, by `threads` threads that take turns of 64 records each.
struct TraceReplay {
  PolicyReplay::Result result;
  double metadata_bytes_per_frame = 0;
  double seconds = 0;
};
TraceReplay ReplayTrace(const PageTrace& trace, storage::PolicyKind policy, uint32_t frames,
                        uint32_t threads);

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_POLICY_REPLAY_H_
