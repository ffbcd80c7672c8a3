#ifndef FIXPOOL_STORAGE_CACHE_PROGRESS_H_
#define FIXPOOL_STORAGE_CACHE_PROGRESS_H_

#include "fixpool/io/require_cpp20.h"

#include <atomic>
#include <cstdint>

#include "fixpool/io/environment.h"
#include "fixpool/storage/page_cache.h"
#include "fixpool/storage/progress.h"

namespace fixpool::storage {

// What a TaskScheduler needs for tasks that await pages of a PageCache.
//
//   CacheProgress progress(cache.get());
//   auto frames = CoroutineFrames::Create();
//   TaskScheduler scheduler(frames->get(), &progress);
//   scheduler.RunConcurrently(...tasks that co_await cache->ReadAsync(page)...);
//
// While tasks can run, reads that they start are kept back until there are some of them, and
// completions are taken in several at a time, so that a system call serves many pages. One that
// comes alone is taken in 2 ms later at most (CompletionReaper::kEitherSliceNs).
// With a loop of the caller's own: TaskScheduler::RunReady, and Wait(deadline) in between, or
// any other wait that is short beside the time of a transfer.
// One for each scheduler. Outlived by the cache, outlives the scheduler. Threads: see Progress.
class CacheProgress final : public Progress {
 public:
  struct Options {
    // Tasks wait also for what has nothing to do with this cache, and other threads will wake
    // them. Else a scheduler none of whose tasks waits for a page, nor is ready, is deadlocked.
    bool others_wake_tasks = false;
  };

  explicit CacheProgress(PageCache* cache) : CacheProgress(cache, Options()) {}
  CacheProgress(PageCache* cache, Options options);
  CacheProgress(const CacheProgress&) = delete;
  CacheProgress& operator=(const CacheProgress&) = delete;

  void Poll() override;
  void Submit() override;
  bool Wait(io::Deadline deadline) override;
  void Interrupt() override;

 private:
  void WakeOverdue();

  CacheState* const state_;
  const Options options_;
  std::atomic<bool> interrupted_{false};
  uint32_t looked_at_ = 0;  // the reaper's epoch
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_CACHE_PROGRESS_H_
