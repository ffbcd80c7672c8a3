#ifndef FIXPOOL_STORAGE_CACHE_PROGRESS_H_
#define FIXPOOL_STORAGE_CACHE_PROGRESS_H_

#include <atomic>
#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/event_descriptor.h"
#include "fixpool/io/require_cpp20.h"
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
// With a loop of the caller's own:
//
//   const int descriptor = *progress.Descriptor();         // once, into the loop's epoll set
//   while (scheduler.CountUnfinished() > 0) {
//     scheduler.RunReady();
//     if (scheduler.CountReady() > 0) continue;
//     ...wait for descriptor to be readable, or progress.NextDeadline(), or what else there is...
//   }
//
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

  // Readable when RunReady should be called: there are completions, or another thread has woken a
  // task. It is this object's and lives as long; nobody reads from it or closes it.
  // Unimplemented: the engine has none (IoEngine::CompletionDescriptor). ResourceExhausted: no
  // descriptors (RLIMIT_NOFILE). FailedPrecondition: a forked child.
  // By the scheduler's thread.
  absl::StatusOr<int> Descriptor();
  // When RunReady should be called at the latest, though nothing was readable: a task's deadline
  // passes, or there is something that the kernel has to be asked for again. Infinite if no task
  // waits for a page.
  io::Deadline NextDeadline();

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
  // Made when somebody asks for the descriptor; `event_` is for Interrupt, by any thread.
  std::optional<io::EventDescriptor> own_event_;
  std::optional<io::DescriptorSet> descriptors_;
  std::atomic<io::EventDescriptor*> event_{nullptr};
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_CACHE_PROGRESS_H_
