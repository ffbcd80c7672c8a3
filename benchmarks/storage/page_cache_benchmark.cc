// What an access to a page costs: in memory, from the disk, and with a dirty page to be
// written first.
//
// Beside each figure of the cache stands the plainest thing that could be in its place: for a
// hit an array of pointers, for a miss a read of the engine's into one page of memory.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "benchmark/benchmark.h"
#include "benchmarks/support/bench_file.h"
#include "benchmarks/support/bench_scale.h"
#include "fixpool/arena/page_arena.h"
#include "fixpool/arena/page_handle.h"
#include "fixpool/io/file.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/open_engine.h"
#include "fixpool/storage/page_cache.h"

namespace fixpool::storage {
namespace {

using benchmarks::BenchFile;
using benchmarks::BenchScale;

// Pages of a hit: more than the CPU's caches hold, few enough to be loaded in no time.
uint64_t HotPages() { return benchmarks::Scale() == BenchScale::kTiny ? 256 : 16384; }
// Of the file's pages, how many have a frame where misses are measured: few, so that nearly
// every random access is one.
constexpr uint64_t kPagesPerFrame = 100;

uint32_t PageBytes(const benchmark::State& state) { return static_cast<uint32_t>(state.range(0)); }

uint64_t FirstWord(const std::byte* page) {
  uint64_t word;
  std::memcpy(&word, page, sizeof(word));
  return word;
}

// A cache on the shared file of all benchmarks.
struct Rig {
  std::unique_ptr<PageCache> cache;
  FileId file;
  uint64_t page_count = 0;
};

// `frames` 0: one for every kPagesPerFrame pages of the file.
absl::StatusOr<Rig> MakeRig(uint32_t page_bytes, uint64_t frames) {
  const absl::StatusOr<BenchFile*> bench_file = BenchFile::Shared();
  if (!bench_file.ok()) return bench_file.status();
  if (frames == 0) {
    frames = std::max<uint64_t>(16, (*bench_file)->size_bytes() / page_bytes / kPagesPerFrame);
  }
  Rig rig;
  auto cache = PageCache::Create({.memory_bytes = frames * page_bytes, .page_bytes = page_bytes});
  if (!cache.ok()) return cache.status();
  rig.cache = *std::move(cache);
  const auto file = rig.cache->OpenFile((*bench_file)->path(), {});
  if (!file.ok()) return file.status();
  rig.file = *file;
  rig.page_count = *rig.cache->PageCount(rig.file);
  return rig;
}

// One for all threads of a benchmark.
absl::StatusOr<Rig> shared_rig = absl::UnknownError("not made");
// The bare array: pages of an arena like the cache's.
struct BareArray {
  std::unique_ptr<io::FixedBufferRegistry> registry;
  std::unique_ptr<arena::PageArena> arena;
  std::vector<std::byte*> pages;
};
BareArray bare_array;

void StartHits(const benchmark::State& state) {
  shared_rig = MakeRig(PageBytes(state), HotPages());
  if (!shared_rig.ok()) return;
  for (uint64_t page = 0; page < HotPages(); ++page) {
    const auto guard = shared_rig->cache->Read({shared_rig->file, page});
    if (guard.ok()) continue;
    shared_rig = guard.status();
    return;
  }
}

void StopHits(const benchmark::State&) { shared_rig = absl::UnknownError("not made"); }

void StartArray(const benchmark::State& state) {
  bare_array.registry = *io::FixedBufferRegistry::Create({});
  bare_array.arena = *arena::PageArena::Create(
      bare_array.registry.get(),
      {.size_bytes = HotPages() * PageBytes(state), .page_bytes = PageBytes(state)});
  while (bare_array.pages.size() < HotPages()) {
    const arena::PageHandle handle = *bare_array.arena->Allocate();
    bare_array.pages.push_back(bare_array.arena->AddressOf(handle));
  }
}

void StopArray(const benchmark::State&) {
  bare_array.pages.clear();
  bare_array.arena.reset();
  bare_array.registry.reset();
}

// The same pages in the same order for the cache and for the array.
std::mt19937_64 RandomOf(const benchmark::State& state) {
  return std::mt19937_64(static_cast<uint64_t>(state.thread_index()) + 1);
}

void BM_BareArray_ReadHit(benchmark::State& state) {
  std::mt19937_64 random = RandomOf(state);
  for (auto _ : state) {
    benchmark::DoNotOptimize(FirstWord(bare_array.pages[random() & (HotPages() - 1)]));
  }
  state.SetItemsProcessed(state.iterations());
}

void BM_PageCache_ReadHit(benchmark::State& state) {
  if (!shared_rig.ok()) return state.SkipWithError(shared_rig.status().ToString().c_str());
  std::mt19937_64 random = RandomOf(state);
  for (auto _ : state) {
    const auto guard = shared_rig->cache->Read({shared_rig->file, random() & (HotPages() - 1)});
    if (!guard.ok()) return state.SkipWithError(guard.status().ToString().c_str());
    benchmark::DoNotOptimize(FirstWord(guard->bytes().data()));
  }
  state.SetItemsProcessed(state.iterations());
}

// One read at a time: submit, wait, look.
class RawEngine {
 public:
  static absl::StatusOr<std::unique_ptr<RawEngine>> Make(uint32_t page_bytes) {
    const absl::StatusOr<BenchFile*> bench_file = BenchFile::Shared();
    if (!bench_file.ok()) return bench_file.status();
    auto raw = std::make_unique<RawEngine>();
    raw->registry_ = *io::FixedBufferRegistry::Create({});
    auto engine = io::OpenEngine(raw->registry_.get());
    if (!engine.ok()) return engine.status();
    raw->engine_ = *std::move(engine);
    auto arena = arena::PageArena::Create(raw->registry_.get(),
                                          {.size_bytes = page_bytes, .page_bytes = page_bytes});
    if (!arena.ok()) return arena.status();
    raw->arena_ = *std::move(arena);
    const auto file = io::File::Open((*bench_file)->path());
    if (!file.ok()) return file.status();
    const auto handle = raw->engine_->AddFile(*file);
    if (!handle.ok()) return handle.status();
    const arena::PageHandle page = *raw->arena_->Allocate();
    raw->page_count_ = (*bench_file)->size_bytes() / page_bytes;
    raw->request_ = {.file = *handle,
                     .region = page.region,
                     .data = raw->arena_->AddressOf(page),
                     .length_bytes = page_bytes};
    return raw;
  }

  absl::Status Transfer(io::IoOperation operation, uint64_t page) {
    request_.operation = operation;
    request_.offset_bytes = page * request_.length_bytes;
    const io::SubmitResult submitted = engine_->Submit({&request_, 1});
    if (!submitted.status.ok()) return submitted.status;
    io::IoCompletion completion;
    while (engine_->Reap({&completion, 1}, io::Deadline::Infinite()) == 0) continue;
    return completion.status;
  }

  uint64_t page_count() const { return page_count_; }
  const std::byte* data() const { return static_cast<const std::byte*>(request_.data); }

 private:
  std::unique_ptr<io::FixedBufferRegistry> registry_;
  std::unique_ptr<arena::PageArena> arena_;
  std::unique_ptr<io::IoEngine> engine_;
  io::IoRequest request_;
  uint64_t page_count_ = 0;
};

void BM_RawEngine_Read(benchmark::State& state) {
  const auto raw = RawEngine::Make(PageBytes(state));
  if (!raw.ok()) return state.SkipWithError(raw.status().ToString().c_str());
  std::mt19937_64 random = RandomOf(state);
  for (auto _ : state) {
    const absl::Status status =
        (*raw)->Transfer(io::IoOperation::kRead, random() % (*raw)->page_count());
    if (!status.ok()) return state.SkipWithError(status.ToString().c_str());
    benchmark::DoNotOptimize(FirstWord((*raw)->data()));
  }
  state.SetItemsProcessed(state.iterations());
  state.SetBytesProcessed(state.iterations() * PageBytes(state));
}

void BM_PageCache_ReadMiss(benchmark::State& state) {
  const auto rig = MakeRig(PageBytes(state), /*frames=*/0);
  if (!rig.ok()) return state.SkipWithError(rig.status().ToString().c_str());
  std::mt19937_64 random = RandomOf(state);
  for (auto _ : state) {
    const auto guard = rig->cache->Read({rig->file, random() % rig->page_count});
    if (!guard.ok()) return state.SkipWithError(guard.status().ToString().c_str());
    benchmark::DoNotOptimize(FirstWord(guard->bytes().data()));
  }
  state.SetItemsProcessed(state.iterations());
  state.SetBytesProcessed(state.iterations() * PageBytes(state));
  const CacheStats stats = rig->cache->Stats();
  state.counters["hit_ratio"] =
      static_cast<double>(stats.hits) / static_cast<double>(stats.hits + stats.misses);
}

// Reads a page, changes it and writes it back, each transfer for itself.
void BM_RawEngine_ReadWrite(benchmark::State& state) {
  const auto raw = RawEngine::Make(PageBytes(state));
  if (!raw.ok()) return state.SkipWithError(raw.status().ToString().c_str());
  std::mt19937_64 random = RandomOf(state);
  for (auto _ : state) {
    const uint64_t page = random() % (*raw)->page_count();
    absl::Status status = (*raw)->Transfer(io::IoOperation::kRead, page);
    status.Update((*raw)->Transfer(io::IoOperation::kWrite, page));
    if (!status.ok()) return state.SkipWithError(status.ToString().c_str());
  }
  state.SetItemsProcessed(state.iterations());
  state.SetBytesProcessed(state.iterations() * PageBytes(state));
}

// Changes random pages of a file larger than the cache: each miss evicts a page that has to
// be written before.
void BM_PageCache_WriteMiss(benchmark::State& state) {
  const auto rig = MakeRig(PageBytes(state), /*frames=*/0);
  if (!rig.ok()) return state.SkipWithError(rig.status().ToString().c_str());
  std::mt19937_64 random = RandomOf(state);
  for (auto _ : state) {
    auto guard = rig->cache->Write({rig->file, random() % rig->page_count});
    if (!guard.ok()) return state.SkipWithError(guard.status().ToString().c_str());
    guard->mutable_bytes()[0] ^= std::byte{1};
  }
  state.SetItemsProcessed(state.iterations());
  state.SetBytesProcessed(state.iterations() * PageBytes(state));
  const CacheStats stats = rig->cache->Stats();
  state.counters["writes_per_miss"] =
      static_cast<double>(stats.writes) / static_cast<double>(stats.misses);
  const absl::Status flushed = rig->cache->FlushAll();
  if (!flushed.ok()) state.SkipWithError(flushed.ToString().c_str());
}

BENCHMARK(BM_BareArray_ReadHit)
    ->ArgName("page_bytes")
    ->Arg(4096)
    ->Setup(StartArray)
    ->Teardown(StopArray)
    ->ThreadRange(1, 2)
    ->UseRealTime();
BENCHMARK(BM_PageCache_ReadHit)
    ->ArgName("page_bytes")
    ->Arg(4096)
    ->Setup(StartHits)
    ->Teardown(StopHits)
    ->ThreadRange(1, 2)
    ->UseRealTime();
BENCHMARK(BM_RawEngine_Read)->ArgName("page_bytes")->Arg(4096)->Arg(65536)->UseRealTime();
BENCHMARK(BM_PageCache_ReadMiss)->ArgName("page_bytes")->Arg(4096)->Arg(65536)->UseRealTime();
BENCHMARK(BM_RawEngine_ReadWrite)->ArgName("page_bytes")->Arg(4096)->UseRealTime();
BENCHMARK(BM_PageCache_WriteMiss)->ArgName("page_bytes")->Arg(4096)->UseRealTime();

}  // namespace
}  // namespace fixpool::storage
