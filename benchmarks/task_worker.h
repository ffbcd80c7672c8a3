#ifndef FIXPOOL_BENCHMARKS_TASK_WORKER_H_
#define FIXPOOL_BENCHMARKS_TASK_WORKER_H_

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "benchmarks/cache_worker.h"
#include "fixpool/storage/coroutine_frames.h"
#include "fixpool/storage/task.h"
#include "fixpool/storage/task_scheduler.h"

namespace fixpool::benchmarks {

// Runs `depth` tasks, each of which uses one page after the other: `co_await` ReadAsync or
// WriteAsync, look at it or change it, and on to the next of the thread's sequence.
// A page's latency is the time from being asked for to having been used.
class TaskWorker final : public CacheWorker {
 public:
  TaskWorker(const CacheStage& stage, uint32_t thread) : CacheWorker(stage, thread) {}

  absl::Status Prepare() override;
  absl::Status Work(const std::atomic<int64_t>& end_ns) override;

 private:
  static storage::Task<absl::Status> UsePages(storage::TaskScheduler& scheduler, TaskWorker& worker,
                                              const std::atomic<int64_t>& end_ns);

  std::unique_ptr<storage::CoroutineFrames> frames_;
};

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_TASK_WORKER_H_
