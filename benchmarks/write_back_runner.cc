#include "benchmarks/write_back_runner.h"

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "benchmarks/run_parts.h"
#include "benchmarks/write_back_sampler.h"
#include "benchmarks/write_back_workers.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/storage/page_cache.h"

namespace fixpool::benchmarks {
namespace {

using storage::CacheStats;
using storage::PageCache;

struct Snapshot {
  CacheStats stats;
  io::EngineCounters engine;
  uint64_t dirtied = 0;
};

Snapshot TakeSnapshot(const WriteBackStage& stage) {
  return {.stats = stage.cache->Stats(),
          .engine = stage.engine->Report().counters,
          .dirtied = stage.dirtied.load(std::memory_order_relaxed)};
}

uint64_t TransfersOf(const io::EngineCounters& counters) {
  return counters.fixed_transfers + counters.plain_transfers;
}

void SetDifference(const Snapshot& before, const Snapshot& after, WriteBackResult& result) {
  result.cache = after.stats;
  for (uint64_t CacheStats::*const count :
       {&CacheStats::made, &CacheStats::waits, &CacheStats::reads, &CacheStats::writes,
        &CacheStats::background_writes, &CacheStats::joined_writes, &CacheStats::eviction_writes,
        &CacheStats::evictions, &CacheStats::misses, &CacheStats::hits}) {
    result.cache.*count -= before.stats.*count;
  }
  result.transfers = TransfersOf(after.engine) - TransfersOf(before.engine);
  result.kernel_enters = after.engine.kernel_enters - before.engine.kernel_enters;
  result.dirtied = after.dirtied - before.dirtied;
}

absl::Status FlushAll(const WriteBackStage& stage) {
  if (absl::Status status = stage.cache->Flush(stage.file); !status.ok()) return status;
  const CacheStats stats = stage.cache->Stats();
  if (stats.dirty_frames + stats.in_flight_frames == 0 && stats.write_errors == 0) {
    return absl::OkStatus();
  }
  return absl::InternalError(absl::StrCat("after a flush that went well: ", stats.ToString()));
}

absl::StatusOr<WriteBackResult> RunWorkers(WriteBackStage& stage) {
  // The vector has the order of `threads`: writers, readers, the sampler.
  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<const PageDirtier*> writers;
  std::vector<const ColdReader*> readers;
  for (uint32_t thread = 0; thread < stage.options.writers; ++thread) {
    auto writer = std::make_unique<PageDirtier>(stage, thread);
    writers.push_back(writer.get());
    workers.push_back(std::move(writer));
  }
  for (uint32_t thread = 0; thread < stage.options.readers; ++thread) {
    auto reader = std::make_unique<ColdReader>(stage, thread);
    readers.push_back(reader.get());
    workers.push_back(std::move(reader));
  }
  auto sampler = std::make_unique<WriteBackSampler>(stage);
  const WriteBackSampler& sampled = *sampler;
  workers.push_back(std::move(sampler));

  Snapshot before, after;
  absl::StatusOr<Interval> interval =
      RunTeam(workers, {.seconds = stage.options.run.seconds,
                        .at_start = [&] { before = TakeSnapshot(stage); },
                        .at_end = [&] { after = TakeSnapshot(stage); }});
  if (!interval.ok()) return interval.status();
  if (absl::Status status = FlushAll(stage); !status.ok()) return status;

  WriteBackResult result;
  result.interval = *interval;
  SetDifference(before, after, result);
  for (const PageDirtier* const writer : writers) {
    result.dirtying.Merge(writer->latency());
    result.held_up_ns += writer->held_up_ns();
  }
  for (const ColdReader* const reader : readers) {
    result.reads.Merge(reader->latency());
    result.reads_from_due.Merge(reader->latency_from_due());
  }
  result.writer_depth = WriterDepthOf(stage.engine->depth());
  result.mean_in_flight = sampled.mean_in_flight();
  result.most_in_flight = sampled.most_in_flight();
  result.was_steady = sampled.was_steady();
  result.samples.assign(sampled.samples().begin(), sampled.samples().end());
  return result;
}

}  // namespace

absl::StatusOr<WriteBackResult> RunWriteBack(const WriteBackOptions& options,
                                             const PageFile& file) {
  const PageIoOptions& run = options.run;
  absl::StatusOr<CacheParts> parts = MakeCacheParts(run, EngineDepthFor(run.depth));
  if (!parts.ok()) return parts.status();
  absl::StatusOr<std::unique_ptr<PageCache>> cache =
      PageCache::Create(parts->memory.arena.get(), parts->engine.get(),
                        {.frame_count = run.cache_bytes / run.page_bytes,
                         .dirty_share = options.dirty_share,
                         .read_ahead_bytes = 0});
  if (!cache.ok()) return cache.status();
  absl::StatusOr<storage::FileId> file_id = (*cache)->OpenFile(
      run.file, {.direct = run.direct ? io::File::DirectIo::kRequire : io::File::DirectIo::kNever});
  if (!file_id.ok()) return file_id.status();

  WriteBackStage stage{.options = options,
                       .page_file = file,
                       .cache = cache->get(),
                       .engine = parts->engine.get(),
                       .file = *file_id};
  absl::StatusOr<WriteBackResult> result = RunWorkers(stage);
  if (result.ok()) result->in_force = parts->in_force;
  return result;
}

}  // namespace fixpool::benchmarks
