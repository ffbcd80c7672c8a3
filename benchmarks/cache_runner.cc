#include "benchmarks/cache_runner.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "benchmarks/in_force.h"
#include "benchmarks/memory_need.h"
#include "benchmarks/page_sequence.h"
#include "benchmarks/run_parts.h"
#include "benchmarks/verify_pattern.h"
#include "benchmarks/worker_team.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/storage/page_cache.h"

namespace fixpool::benchmarks {
namespace {

using storage::CacheStats;
using storage::PageCache;
using storage::PageId;
using storage::ReadGuard;
using storage::WriteGuard;

// What all workers share.
struct Stage {
  const PageIoOptions& options;
  const PageFile& page_file;
  PageLedger* ledger;  // null: nothing is verified
  PageCache* cache;
  const io::IoEngine* engine;  // the cache's
  uint64_t most_in_flight;     // of all threads
  storage::FileId file;
};

// See CacheWorker::WindowOf.
constexpr size_t kWindowDepths = 3;

class CacheWorker final : public Worker {
 public:
  CacheWorker(const Stage& stage, uint32_t thread)
      : stage_(stage),
        batch_(std::max(1u, stage.options.depth / 8)),
        wanted_(WindowOf(stage)),
        sequence_({.pattern = stage.options.pattern,
                   .operation = stage.options.operation,
                   .pages = stage.page_file.pages(),
                   .thread = thread,
                   .threads = stage.options.threads,
                   .seed = stage.options.seed}) {}

  absl::Status Prepare() override {
    asked_.reserve(wanted_.size());
    return absl::OkStatus();
  }

  // The loop that is measured. What is in flight at its end the cache takes in by itself.
  absl::Status Work(const std::atomic<int64_t>& end_ns) override {
    if (absl::Status status = AskForMore(NowNs()); !status.ok()) return status;
    while (true) {
      const size_t count = std::min(batch_, wanted_count_);
      for (size_t i = 0; i < count; ++i) {
        if (absl::Status status = Use(wanted_[Wrapped(oldest_ + i)]); !status.ok()) return status;
      }
      const int64_t now_ns = NowNs();
      if (now_ns > end_ns.load(std::memory_order_relaxed)) return absl::OkStatus();
      for (size_t i = 0; i < count; ++i) {
        const int64_t latency_ns = now_ns - wanted_[Wrapped(oldest_ + i)].asked_ns;
        latency_.Record(static_cast<uint64_t>(latency_ns));
      }
      oldest_ = Wrapped(oldest_ + count);
      wanted_count_ -= count;
      if (absl::Status status = AskForMore(now_ns); !status.ok()) return status;
    }
  }

  const LatencyHistogram& latency() const { return latency_; }
  uint64_t bytes_seen() const { return bytes_seen_; }

 private:
  struct Wanted {
    uint64_t page = 0;
    int64_t asked_ns = 0;
    bool is_write = false;
  };

  // How many pages may be asked for and not used. Pages are used in order and arrive in any
  // order: were there no more of them than may be in flight, those that have come and wait for
  // their turn would keep the device from its work. Together with those of other threads no
  // more than a quarter of the frames, so that none is evicted before its turn.
  static size_t WindowOf(const Stage& stage) {
    const size_t depth = stage.options.depth;
    if (depth == 1) return 1;
    const size_t frames = stage.cache->frame_count() / 4 / stage.options.threads;
    return std::clamp(frames, depth, kWindowDepths * depth);
  }

  size_t Wrapped(size_t index) const {
    return index < wanted_.size() ? index : index - wanted_.size();
  }

  // Has the cache start to read as many new pages as there is room for in flight and in the
  // window. There is at least one page to use afterwards.
  absl::Status AskForMore(int64_t now_ns) {
    const uint64_t in_flight = stage_.engine->in_flight();
    const uint64_t most = stage_.most_in_flight;
    const size_t room = in_flight < most ? static_cast<size_t>(most - in_flight) : 0;
    const size_t least = wanted_count_ == 0 ? 1 : 0;
    const size_t count = std::clamp(room, least, wanted_.size() - wanted_count_);
    asked_.clear();
    for (size_t i = 0; i < count; ++i) {
      const uint64_t page = sequence_.NextPage();
      wanted_[Wrapped(oldest_ + wanted_count_)] = {
          .page = page, .asked_ns = now_ns, .is_write = sequence_.NextIsWrite()};
      ++wanted_count_;
      asked_.push_back({stage_.file, page});
    }
    if (wanted_.size() == 1) return absl::OkStatus();
    return stage_.cache->Prefetch(asked_).status();
  }

  absl::Status Use(const Wanted& wanted) {
    return wanted.is_write ? UseToWrite(wanted.page) : UseToRead(wanted.page);
  }

  absl::Status UseToRead(uint64_t page) {
    absl::StatusOr<ReadGuard> guard = stage_.cache->Read({stage_.file, page});
    if (!guard.ok()) return guard.status();
    const auto bytes = guard->bytes();
    uint64_t word;
    std::memcpy(&word, bytes.data(), sizeof(word));
    bytes_seen_ += word & 0xFF;  // touched, as a user would
    if (stage_.ledger == nullptr) return absl::OkStatus();
    return stage_.ledger->Check(page, absl::MakeConstSpan(bytes.data(), bytes.size()));
  }

  absl::Status UseToWrite(uint64_t page) {
    absl::StatusOr<WriteGuard> guard = stage_.cache->Write({stage_.file, page});
    if (!guard.ok()) return guard.status();
    const auto mutable_bytes = guard->mutable_bytes();
    const absl::Span<std::byte> bytes(mutable_bytes.data(), mutable_bytes.size());
    const uint64_t offset_bytes = page * stage_.options.page_bytes;
    if (stage_.ledger == nullptr) {
      RestampPattern(bytes, offset_bytes, ++writes_);
      return absl::OkStatus();
    }
    // What was there is looked at too: it may have been read for this write.
    if (absl::Status status = stage_.ledger->Check(page, bytes); !status.ok()) return status;
    const uint32_t sequence = stage_.ledger->NextSequence(page);
    WritePattern(bytes, offset_bytes, sequence);
    stage_.ledger->Set(page, sequence);
    return absl::OkStatus();
  }

  const Stage& stage_;
  const size_t batch_;
  // A ring. The wanted_count_ pages from oldest_ on have been asked for and not been used.
  std::vector<Wanted> wanted_;
  size_t oldest_ = 0;
  size_t wanted_count_ = 0;
  PageSequence sequence_;
  std::vector<PageId> asked_;  // for one call of Prefetch
  uint64_t writes_ = 0;
  uint64_t bytes_seen_ = 0;
  LatencyHistogram latency_;
};

// See cache_runner.h for what is a miss.
CacheCounts Difference(const CacheStats& before, const CacheStats& after) {
  const uint64_t uses = (after.hits - before.hits) + (after.misses - before.misses);
  const uint64_t reads = after.reads - before.reads;
  return {.hits = uses > reads ? uses - reads : 0,
          .misses = reads,
          .evictions = after.evictions - before.evictions,
          .writes = after.writes - before.writes};
}

// The level at which `engine` moves pages of the run's file; asked before the cache has it.
absl::StatusOr<io::EngineLevel> LevelForRunFile(io::IoEngine& engine,
                                                std::shared_ptr<io::File> file) {
  absl::StatusOr<io::FileHandle> handle = engine.AddFile(std::move(file));
  if (!handle.ok()) return handle.status();
  const absl::StatusOr<io::EngineLevel> level = engine.LevelOf(*handle);
  if (absl::Status status = engine.RemoveFile(*handle, io::Deadline::Infinite()); !status.ok()) {
    return status;
  }
  return level;
}

absl::StatusOr<RunResult> RunWorkers(const Stage& stage) {
  std::vector<std::unique_ptr<Worker>> workers;
  for (uint32_t thread = 0; thread < stage.options.threads; ++thread) {
    workers.push_back(std::make_unique<CacheWorker>(stage, thread));
  }
  CacheStats before, after;
  absl::StatusOr<Interval> interval =
      RunTeam(workers, {.seconds = stage.options.seconds,
                        .at_start = [&] { before = stage.cache->Stats(); },
                        .at_end = [&] { after = stage.cache->Stats(); }});
  if (!interval.ok()) return interval.status();

  RunResult result;
  result.interval = *interval;
  for (const auto& worker : workers) {
    result.latency.Merge(static_cast<const CacheWorker&>(*worker).latency());
  }
  result.operations = result.latency.count();
  result.most_in_flight = stage.most_in_flight;
  result.cache = Difference(before, after);
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
  absl::StatusOr<PageMemory> memory = MakePageMemory(options, options.cache_bytes);
  if (!memory.ok()) return memory.status();
  // For the engine's probes alone: the cache opens the file by itself.
  absl::StatusOr<std::shared_ptr<io::File>> opened = OpenRunFile(options, /*read_only=*/true);
  if (!opened.ok()) return opened.status();
  absl::StatusOr<std::unique_ptr<io::IoEngine>> engine =
      OpenRunEngine(options, engine_depth, *opened, *memory);
  if (!engine.ok()) return engine.status();
  const auto level = LevelForRunFile(**engine, *std::move(opened));
  if (!level.ok()) return level.status();
  InForce in_force;
  LowerTo((*engine)->Report(), *level, memory->arena->Report(), in_force);
  if (absl::Status status = CheckRequirement(options, in_force); !status.ok()) return status;

  absl::StatusOr<std::unique_ptr<PageCache>> cache =
      PageCache::Create(memory->arena.get(), engine->get(),
                        {.frame_count = options.cache_bytes / options.page_bytes});
  if (!cache.ok()) return cache.status();
  absl::StatusOr<storage::FileId> file_id = (*cache)->OpenFile(
      options.file,
      {.read_only = options.operation == Operation::kRead,
       .direct = options.direct ? io::File::DirectIo::kRequire : io::File::DirectIo::kNever});
  if (!file_id.ok()) return file_id.status();

  // An engine takes no more than the device of its files does.
  const uint64_t most = std::min<uint64_t>(PagesInFlight(options), (*engine)->depth());
  absl::StatusOr<RunResult> result =
      RunWorkers({options, file, ledger, cache->get(), engine->get(), most, *file_id});
  if (result.ok()) result->in_force = in_force;
  return result;
}

}  // namespace fixpool::benchmarks
