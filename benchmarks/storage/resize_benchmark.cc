// What it takes to make a cache in use eight times as large, and as small again; and what those who
// use it notice of that.
//
// Beside the cache's own figures stand those of an arena alone, which maps, faults in, registers
// and gives back the same memory, and those of the same accesses while nothing is resized.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "benchmark/benchmark.h"
#include "benchmarks/support/bench_file.h"
#include "benchmarks/support/bench_scale.h"
#include "fixpool/arena/page_arena.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/open_engine.h"
#include "fixpool/storage/page_cache.h"

namespace fixpool::storage {
namespace {

using benchmarks::BenchFile;
using benchmarks::BenchScale;
using Clock = std::chrono::steady_clock;

constexpr uint32_t kPageBytes = 4096;
constexpr size_t kTimes = 8;

size_t SmallBytes() {
  return benchmarks::Scale() == BenchScale::kTiny ? size_t{2} << 20 : size_t{32} << 20;
}

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Rig {
  std::unique_ptr<PageCache> cache;
  FileId file;
  uint64_t page_count = 0;
};

absl::StatusOr<Rig> MakeRig(size_t memory_bytes) {
  const absl::StatusOr<BenchFile*> bench_file = BenchFile::Shared();
  if (!bench_file.ok()) return bench_file.status();
  Rig rig;
  auto cache = PageCache::Create({.memory_bytes = memory_bytes, .page_bytes = kPageBytes});
  if (!cache.ok()) return cache.status();
  rig.cache = *std::move(cache);
  const auto file = rig.cache->OpenFile((*bench_file)->path(), {});
  if (!file.ok()) return file.status();
  rig.file = *file;
  rig.page_count = *rig.cache->PageCount(rig.file);
  return rig;
}

// Until every frame that has a page of the file to hold does; changed ones if `dirty`.
absl::Status Fill(Rig& rig, bool dirty) {
  std::vector<PageId> ahead;
  const uint64_t pages = std::min<uint64_t>(rig.page_count, rig.cache->frame_count());
  for (uint64_t page = 0; page < pages; ++page) {
    if (page % 64 == 0) {
      ahead.clear();
      for (uint64_t next = page; next < std::min(page + 64, pages); ++next) {
        ahead.push_back({rig.file, next});
      }
      if (const auto started = rig.cache->Prefetch(ahead); !started.ok()) return started.status();
    }
    if (dirty) {
      auto guard = rig.cache->Write({rig.file, page});
      if (!guard.ok()) return guard.status();
      guard->mutable_bytes()[0] ^= std::byte{1};
    } else if (const auto guard = rig.cache->Read({rig.file, page}); !guard.ok()) {
      return guard.status();
    }
  }
  return absl::OkStatus();
}

// The arena alone.
void BM_PageArena_Resize(benchmark::State& state) {
  const bool grow = state.range(0) != 0;
  auto registry = *io::FixedBufferRegistry::Create({});
  const size_t small_bytes = SmallBytes();
  auto arena = arena::PageArena::Create(
      registry.get(),
      {.size_bytes = small_bytes, .region_bytes = std::max(small_bytes / 16, size_t{2} << 20)});
  if (!arena.ok()) return state.SkipWithError(arena.status().ToString().c_str());
  for (auto _ : state) {
    Clock::time_point start = Clock::now();
    absl::Status status = (*arena)->Grow((kTimes - 1) * small_bytes);
    if (grow) state.SetIterationTime(SecondsSince(start));
    start = Clock::now();
    status.Update((*arena)->Shrink((kTimes - 1) * small_bytes, io::Deadline::Infinite()).status());
    if (!grow) state.SetIterationTime(SecondsSince(start));
    if (!status.ok()) return state.SkipWithError(status.ToString().c_str());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>((kTimes - 1) * small_bytes));
}

// A cache whose frames are full.
void BM_PageCache_Resize(benchmark::State& state) {
  const bool grow = state.range(0) != 0;
  const bool dirty = state.range(1) != 0;
  auto rig = MakeRig(SmallBytes());
  if (!rig.ok()) return state.SkipWithError(rig.status().ToString().c_str());
  for (auto _ : state) {
    absl::Status status = Fill(*rig, dirty);
    Clock::time_point start = Clock::now();
    status.Update(rig->cache->Resize(kTimes * SmallBytes()));
    if (grow) state.SetIterationTime(SecondsSince(start));
    status.Update(Fill(*rig, dirty));
    start = Clock::now();
    status.Update(rig->cache->Resize(SmallBytes()));
    if (!grow) state.SetIterationTime(SecondsSince(start));
    if (!status.ok()) return state.SkipWithError(status.ToString().c_str());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>((kTimes - 1) * SmallBytes()));
  state.counters["moves"] =
      static_cast<double>(rig->cache->Stats().moves) / static_cast<double>(state.iterations());
  if (dirty) (void)rig->cache->FlushAll();
}

// Accesses by one thread while another resizes the cache all the time, or does not. `hits`: to as
// many pages as fit into half of the smaller size; else to all of the file.
void BM_PageCache_ReadBesideResize(benchmark::State& state) {
  const bool hits = state.range(0) != 0;
  const bool resizes = state.range(1) != 0;
  auto rig = MakeRig(SmallBytes());
  if (!rig.ok()) return state.SkipWithError(rig.status().ToString().c_str());
  const uint64_t pages =
      hits ? std::min<uint64_t>(rig->page_count, SmallBytes() / kPageBytes / 2) : rig->page_count;
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> resized{0};
  std::thread resizer;
  if (absl::Status status = Fill(*rig, false); !status.ok()) {
    return state.SkipWithError(status.ToString().c_str());
  }
  if (resizes) {
    resizer = std::thread([&] {
      for (bool grow = true; !stop.load(); grow = !grow) {
        if (rig->cache->Resize(grow ? kTimes * SmallBytes() : SmallBytes()).ok()) ++resized;
      }
    });
  }
  std::mt19937_64 random(1);
  double slowest = 0;
  absl::Status error;
  for (auto _ : state) {
    const Clock::time_point start = Clock::now();
    const auto guard = rig->cache->Read({rig->file, random() % pages});
    if (!guard.ok()) error = guard.status();
    benchmark::DoNotOptimize(guard);
    slowest = std::max(slowest, SecondsSince(start));
  }
  stop.store(true);
  if (resizer.joinable()) resizer.join();
  if (!error.ok()) state.SkipWithError(error.ToString().c_str());
  const CacheStats stats = rig->cache->Stats();
  state.SetItemsProcessed(state.iterations());
  state.counters["hit_ratio"] =
      static_cast<double>(stats.hits) /
      static_cast<double>(std::max<uint64_t>(stats.hits + stats.misses, 1));
  state.counters["slowest_us"] = slowest * 1e6;
  state.counters["resizes"] = static_cast<double>(resized.load());
}

BENCHMARK(BM_PageArena_Resize)
    ->ArgNames({"grow"})
    ->Arg(1)
    ->Arg(0)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(BM_PageCache_Resize)
    ->ArgNames({"grow", "dirty"})
    ->Args({1, 0})
    ->Args({0, 0})
    ->Args({0, 1})
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(BM_PageCache_ReadBesideResize)
    ->ArgNames({"hits", "resizes"})
    ->ArgsProduct({{1, 0}, {0, 1}})
    ->UseRealTime();

}  // namespace
}  // namespace fixpool::storage
