// What a page costs: to check its handle, to get it and to give it back.
//
// Beside each figure of the arena stands one of the plainest thing that could be in its place:
// for a check the registry's own look at a region, for pages malloc and a vector of free
// addresses behind a mutex.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "benchmark/benchmark.h"
#include "benchmarks/support/bench_scale.h"
#include "fixpool/arena/page_arena.h"
#include "fixpool/io/fixed_buffer_registry.h"

namespace fixpool::arena {
namespace {

constexpr size_t kPageBytes = 4096;
// What a thread holds at a time. More than one, so that the page freed last is not always the
// one that is handed out next.
constexpr size_t kHeld = 16;

// One arena for all threads of a benchmark.
struct Pool {
  std::unique_ptr<io::FixedBufferRegistry> registry;
  std::unique_ptr<PageArena> arena;
};

absl::StatusOr<Pool> MakePool(size_t page_count, size_t region_count) {
  if (benchmarks::Scale() == benchmarks::BenchScale::kTiny) {
    page_count = std::min(page_count, region_count * 512);
  }
  Pool pool;
  pool.registry = io::FixedBufferRegistry::Create({}).value();
  absl::StatusOr<std::unique_ptr<PageArena>> arena = PageArena::Create(
      pool.registry.get(), {.size_bytes = page_count * kPageBytes,
                            .region_bytes = page_count * kPageBytes / region_count});
  if (!arena.ok()) return arena.status();
  pool.arena = *std::move(arena);
  return pool;
}

absl::StatusOr<Pool> shared_pool = absl::UnknownError("not made");

void StartPool(const benchmark::State& state) {
  const size_t regions = static_cast<size_t>(state.range(0));
  shared_pool = MakePool(regions * 4096, regions);
}

void StopPool(const benchmark::State&) { shared_pool = absl::UnknownError("not made"); }

// Handles of all pages of a pool, in a random order that is the same in every run.
std::vector<PageHandle> ShuffledHandles(PageArena& arena) {
  std::vector<PageHandle> handles;
  while (std::optional<PageHandle> handle = arena.TryAllocate()) handles.push_back(*handle);
  std::shuffle(handles.begin(), handles.end(), std::mt19937_64(1));
  return handles;
}

// Calls `look` with one handle after the other.
template <typename Look>
void LookAtAll(benchmark::State& state, Look look) {
  const absl::StatusOr<Pool> pool = MakePool(static_cast<size_t>(state.range(0)), 1);
  if (!pool.ok()) return state.SkipWithError(pool.status().ToString().c_str());
  const std::vector<PageHandle> handles = ShuffledHandles(*pool->arena);
  size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(look(*pool, handles[next]));
    if (++next == handles.size()) next = 0;
  }
  state.SetItemsProcessed(state.iterations());
}

void BM_Registry_IsCurrent(benchmark::State& state) {
  LookAtAll(state, [](const Pool& pool, PageHandle handle) {
    return pool.registry->IsCurrent(handle.region);
  });
}
BENCHMARK(BM_Registry_IsCurrent)->ArgName("pages")->Arg(1000)->Arg(1 << 18);

void BM_PageArena_Check(benchmark::State& state) {
  LookAtAll(state, [](const Pool& pool, PageHandle handle) {
    return pool.arena->Check(handle).has_value();
  });
}
BENCHMARK(BM_PageArena_Check)->ArgName("pages")->Arg(1000)->Arg(1 << 18);

void BM_PageArena_AddressOf(benchmark::State& state) {
  LookAtAll(state,
            [](const Pool& pool, PageHandle handle) { return pool.arena->AddressOf(handle); });
}
BENCHMARK(BM_PageArena_AddressOf)->ArgName("pages")->Arg(1000)->Arg(1 << 18);

// Takes and gives back a page, one at a time, while kHeld - 1 others are held.
template <typename Page, typename Take, typename Give>
void TakeAndGive(benchmark::State& state, Take take, Give give) {
  std::vector<Page> held;
  for (size_t i = 0; i < kHeld; ++i) held.push_back(take());
  size_t next = 0;
  for (auto _ : state) {
    give(held[next]);
    held[next] = take();
    next = (next + 1) % kHeld;
  }
  for (Page& page : held) give(page);
  state.SetItemsProcessed(state.iterations());
}

void BM_PageArena_AllocateFree(benchmark::State& state) {
  if (!shared_pool.ok()) return state.SkipWithError(shared_pool.status().ToString().c_str());
  PageArena& arena = *shared_pool->arena;
  TakeAndGive<PageHandle>(
      state, [&arena] { return *arena.TryAllocate(); },
      [&arena](PageHandle page) { benchmark::DoNotOptimize(arena.Free(page).ok()); });
}
BENCHMARK(BM_PageArena_AllocateFree)
    ->ArgName("regions")
    ->Arg(1)
    ->Arg(64)
    ->Setup(StartPool)
    ->Teardown(StopPool)
    ->ThreadRange(1, 2)
    ->UseRealTime();

// The plainest allocator of pages that threads can share.
struct MutexFreeList {
  std::mutex mutex;
  std::vector<std::byte> memory = std::vector<std::byte>(4096 * kPageBytes);
  std::vector<std::byte*> free = [this] {
    std::vector<std::byte*> pages;
    for (size_t i = 0; i < 4096; ++i) pages.push_back(memory.data() + i * kPageBytes);
    return pages;
  }();
};

void BM_MutexFreeList_AllocateFree(benchmark::State& state) {
  static MutexFreeList* const list = new MutexFreeList;
  const auto take = [] {
    std::lock_guard<std::mutex> lock(list->mutex);
    std::byte* const page = list->free.back();
    list->free.pop_back();
    return page;
  };
  const auto give = [](std::byte* page) {
    std::lock_guard<std::mutex> lock(list->mutex);
    list->free.push_back(page);
  };
  TakeAndGive<std::byte*>(state, take, give);
}
BENCHMARK(BM_MutexFreeList_AllocateFree)->ThreadRange(1, 2)->UseRealTime();

void BM_Malloc_AllocateFree(benchmark::State& state) {
  const auto take = [] {
    void* page = std::malloc(kPageBytes);
    benchmark::DoNotOptimize(page);
    return page;
  };
  TakeAndGive<void*>(state, take, [](void* page) { std::free(page); });
}
BENCHMARK(BM_Malloc_AllocateFree)->ThreadRange(1, 2)->UseRealTime();

// A long random load of all sizes from 4 KiB to 1 MiB, with `fill` percent of the memory in use:
// each step frees random pages until one of a random size should fit, and allocates it. What
// could not be had, though as much was free, was in pieces. Sizes come in equal numbers.
void BM_PageArena_MixedSizes(benchmark::State& state) {
  const size_t page_count = size_t{1} << 16;  // 256 MiB
  const absl::StatusOr<Pool> pool = MakePool(page_count, 1);
  if (!pool.ok()) return state.SkipWithError(pool.status().ToString().c_str());
  PageArena& arena = *pool->arena;
  const size_t most_bytes = arena.page_count() * kPageBytes / 100 * state.range(0);
  std::mt19937_64 random(1);
  std::vector<PageHandle> held;
  size_t held_bytes = 0;
  size_t in_pieces = 0;
  for (auto _ : state) {
    const size_t size_bytes = kPageBytes << random() % 9;
    while (held_bytes + size_bytes > most_bytes) {
      std::swap(held[random() % held.size()], held.back());
      held_bytes -= arena.SizeOf(held.back());
      benchmark::DoNotOptimize(arena.Free(held.back()).ok());
      held.pop_back();
    }
    if (const std::optional<PageHandle> page = arena.TryAllocate(size_bytes)) {
      held.push_back(*page);
      held_bytes += size_bytes;
    } else {
      ++in_pieces;
    }
  }
  for (const PageHandle page : held) benchmark::DoNotOptimize(arena.Free(page).ok());
  // Everything heals: all of the memory in the largest pages again.
  size_t largest = 0;
  while (arena.TryAllocate(PageArena::kMaxPageBytes).has_value()) ++largest;
  state.counters["refused_percent"] =
      100.0 * static_cast<double>(in_pieces) / static_cast<double>(state.iterations());
  state.counters["whole_afterwards_percent"] = 100.0 * static_cast<double>(largest) *
                                               PageArena::kMaxPageBytes /
                                               static_cast<double>(arena.page_count() * kPageBytes);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_PageArena_MixedSizes)->ArgName("fill")->Arg(50)->Arg(80)->Arg(90)->Arg(95);

// What a cache meets all day long: there is no free page, evict one.
void BM_PageArena_TryAllocateWhenNoneIsFree(benchmark::State& state) {
  const size_t regions = static_cast<size_t>(state.range(0));
  const absl::StatusOr<Pool> pool = MakePool(4096 * regions, regions);
  if (!pool.ok()) return state.SkipWithError(pool.status().ToString().c_str());
  while (pool->arena->TryAllocate().has_value()) {
  }
  for (auto _ : state) benchmark::DoNotOptimize(pool->arena->TryAllocate());
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_PageArena_TryAllocateWhenNoneIsFree)->ArgName("regions")->Arg(1)->Arg(64);

}  // namespace
}  // namespace fixpool::arena
