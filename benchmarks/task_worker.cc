#include "benchmarks/task_worker.h"

#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "fixpool/storage/cache_progress.h"

namespace fixpool::benchmarks {
namespace {

using storage::CoroutineFrames;
using storage::ReadGuard;
using storage::Task;
using storage::TaskScheduler;
using storage::WriteGuard;

// A task that finds its pages in memory never waits; after as many it lets others run.
constexpr uint64_t kPagesOfATurn = 16;

}  // namespace

absl::Status TaskWorker::Prepare() {
  absl::StatusOr<std::unique_ptr<CoroutineFrames>> frames =
      CoroutineFrames::Create({.frame_count = stage_.options.depth});
  if (!frames.ok()) return frames.status();
  frames_ = *std::move(frames);
  return absl::OkStatus();
}

Task<absl::Status> TaskWorker::UsePages(TaskScheduler&, TaskWorker& worker,
                                        const std::atomic<int64_t>& end_ns) {
  int64_t asked_ns = NowNs();
  for (uint64_t pages = 1;; ++pages) {
    const uint64_t page = worker.sequence_.NextPage();
    absl::Status used;
    if (worker.sequence_.NextIsWrite()) {
      absl::StatusOr<WriteGuard> guard =
          co_await worker.stage_.cache->WriteAsync(worker.IdOf(page));
      used = guard.ok() ? worker.Change(*guard, page) : guard.status();
    } else {
      const absl::StatusOr<ReadGuard> guard =
          co_await worker.stage_.cache->ReadAsync(worker.IdOf(page));
      used = guard.ok() ? worker.Look(*guard, page) : guard.status();
    }
    if (!used.ok()) co_return used;
    const int64_t now_ns = NowNs();
    if (now_ns > end_ns.load(std::memory_order_relaxed)) co_return absl::OkStatus();
    worker.latency_.Record(static_cast<uint64_t>(now_ns - asked_ns));
    asked_ns = now_ns;
    worker.SampleInFlight();
    if (pages % kPagesOfATurn == 0) co_await TaskScheduler::Yield();
  }
}

absl::Status TaskWorker::Work(const std::atomic<int64_t>& end_ns) {
  storage::CacheProgress progress(stage_.cache);
  TaskScheduler scheduler(frames_.get(), &progress);
  uint32_t started = 0;
  return scheduler.RunConcurrently(
      [&]() -> std::optional<Task<absl::Status>> {
        if (started == stage_.options.depth) return std::nullopt;
        ++started;
        return UsePages(scheduler, *this, end_ns);
      },
      {.in_flight = stage_.options.depth});
}

}  // namespace fixpool::benchmarks
