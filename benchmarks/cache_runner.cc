#include "benchmarks/cache_runner.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "benchmarks/batch_worker.h"
#include "benchmarks/cache_worker.h"
#include "benchmarks/in_force.h"
#include "benchmarks/memory_need.h"
#include "benchmarks/run_parts.h"
#include "benchmarks/task_worker.h"
#include "benchmarks/worker_team.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/storage/page_cache.h"

namespace fixpool::benchmarks {
namespace {

using storage::CacheStats;
using storage::PageCache;

struct Snapshot {
  CacheStats stats;
  uint64_t kernel_enters = 0;
};

Snapshot TakeSnapshot(const CacheStage& stage) {
  return {.stats = stage.cache->Stats(),
          .kernel_enters = stage.engine->Report().counters.kernel_enters};
}

// See cache_runner.h for what is a miss.
CacheCounts Difference(const Snapshot& before, const Snapshot& after) {
  const uint64_t uses =
      (after.stats.hits - before.stats.hits) + (after.stats.misses - before.stats.misses);
  const uint64_t reads = after.stats.reads - before.stats.reads;
  return {.hits = uses > reads ? uses - reads : 0,
          .misses = reads,
          .evictions = after.stats.evictions - before.stats.evictions,
          .writes = after.stats.writes - before.stats.writes,
          .kernel_enters = after.kernel_enters - before.kernel_enters};
}

std::unique_ptr<Worker> MakeWorker(const CacheStage& stage, uint32_t thread) {
  if (stage.options.access == Access::kTasks) return std::make_unique<TaskWorker>(stage, thread);
  return std::make_unique<BatchWorker>(stage, thread);
}

absl::StatusOr<RunResult> RunWorkers(const CacheStage& stage) {
  std::vector<std::unique_ptr<Worker>> workers;
  for (uint32_t thread = 0; thread < stage.options.threads; ++thread) {
    workers.push_back(MakeWorker(stage, thread));
  }
  Snapshot before, after;
  absl::StatusOr<Interval> interval =
      RunTeam(workers, {.seconds = stage.options.seconds,
                        .at_start = [&] { before = TakeSnapshot(stage); },
                        .at_end = [&] { after = TakeSnapshot(stage); }});
  if (!interval.ok()) return interval.status();

  RunResult result;
  result.interval = *interval;
  uint64_t in_flight_sum = 0, samples = 0;
  for (const auto& worker : workers) {
    const auto& of_cache = static_cast<const CacheWorker&>(*worker);
    result.latency.Merge(of_cache.latency());
    in_flight_sum += of_cache.in_flight_sum();
    samples += of_cache.samples();
  }
  result.operations = result.latency.count();
  result.most_in_flight = stage.most_in_flight;
  result.cache = Difference(before, after);
  if (samples > 0) {
    result.cache.mean_in_flight = static_cast<double>(in_flight_sum) / static_cast<double>(samples);
  }
  if (stage.options.operation == Operation::kRead) return result;
  if (absl::Status status = stage.cache->Flush(stage.file); !status.ok()) return status;
  return result;
}

}  // namespace

absl::StatusOr<RunResult> RunCache(const PageIoOptions& options, const PageFile& file,
                                   PageLedger* ledger) {
  // With room for write-back beside the reads; the most that an engine takes is 4096.
  const auto engine_depth =
      static_cast<uint32_t>(std::clamp<uint64_t>(2 * PagesInFlight(options), 128, 4096));
  absl::StatusOr<CacheParts> parts = MakeCacheParts(options, engine_depth);
  if (!parts.ok()) return parts.status();
  absl::StatusOr<std::unique_ptr<PageCache>> cache =
      PageCache::Create(parts->memory.arena.get(), parts->engine.get(),
                        {.frame_count = options.cache_bytes / options.page_bytes,
                         .free_frames = options.keeper ? std::nullopt : std::optional<uint32_t>(0),
                         .read_ahead_bytes = options.read_ahead_bytes});
  if (!cache.ok()) return cache.status();
  absl::StatusOr<storage::FileId> file_id = (*cache)->OpenFile(
      options.file,
      {.read_only = options.operation == Operation::kRead,
       .direct = options.direct ? io::File::DirectIo::kRequire : io::File::DirectIo::kNever});
  if (!file_id.ok()) return file_id.status();

  // An engine takes no more than the device of its files does.
  const uint64_t most = std::min<uint64_t>(PagesInFlight(options), parts->engine->depth());
  absl::StatusOr<RunResult> result =
      RunWorkers({options, file, ledger, cache->get(), parts->engine.get(), most, *file_id});
  if (result.ok()) result->in_force = parts->in_force;
  return result;
}

}  // namespace fixpool::benchmarks
