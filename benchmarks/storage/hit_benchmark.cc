// What finding a page in memory costs, beside the plainest thing that could be in its place: an
// array of pointers to the same pages. Through the public API, with several files, the default
// policy and statistics on. Each figure is the median of kPairs pairs that alternate; "ratio" is
// the median of the pairs' ratios.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/attributes.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "benchmark/benchmark.h"
#include "benchmarks/generated_trace.h"
#include "benchmarks/page_sequence.h"
#include "benchmarks/storage/hit_pages.h"
#include "benchmarks/support/bench_scale.h"
#include "benchmarks/support/not_here.h"
#include "fixpool/storage/page_cache.h"
#include "fixpool/storage/page_hint.h"

namespace fixpool::storage {
namespace {

using benchmarks::BenchScale;
using benchmarks::HitPages;

constexpr int kPairs = 9;

// The ways to a page. Each returns what the page says.
struct ByArray {
  ABSL_ATTRIBUTE_ALWAYS_INLINE static uint32_t Visit(HitPages& pages, uint32_t page) {
    return HitPages::NextOf(pages.array()[page]);
  }
};
struct ByShared {
  ABSL_ATTRIBUTE_ALWAYS_INLINE static uint32_t VisitId(HitPages& pages, const PageId& page) {
    const auto guard = pages.cache().Read(page);
    return HitPages::NextOf(guard->bytes().data());
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE static uint32_t Visit(HitPages& pages, uint32_t page) {
    return VisitId(pages, pages.IdOf(page));
  }
};
struct ByOptimistic {
  ABSL_ATTRIBUTE_ALWAYS_INLINE static uint32_t VisitId(HitPages& pages, const PageId& page) {
    const auto guard = pages.cache().ReadOptimistic(page);
    const uint32_t next = guard->view().Load<HitPages::Link>(0).next;
    return guard->StillValid() ? next : 0;
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE static uint32_t Visit(HitPages& pages, uint32_t page) {
    return VisitId(pages, pages.IdOf(page));
  }
};
struct ByTryShared {
  ABSL_ATTRIBUTE_ALWAYS_INLINE static uint32_t VisitId(HitPages& pages, const PageId& page) {
    const auto guard = pages.cache().TryRead(page);
    return guard.has_value() ? HitPages::NextOf(guard->bytes().data()) : 0;
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE static uint32_t Visit(HitPages& pages, uint32_t page) {
    return VisitId(pages, pages.IdOf(page));
  }
};
struct ByTryOptimistic {
  ABSL_ATTRIBUTE_ALWAYS_INLINE static uint32_t VisitId(HitPages& pages, const PageId& page) {
    const OptimisticGuard guard = pages.cache().TryReadOptimistic(page);
    if (!guard.has_page()) return 0;
    const uint32_t next = guard.view().Load<HitPages::Link>(0).next;
    return guard.StillValid() ? next : 0;
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE static uint32_t Visit(HitPages& pages, uint32_t page) {
    return VisitId(pages, pages.IdOf(page));
  }
};
struct ByExclusive {
  ABSL_ATTRIBUTE_ALWAYS_INLINE static uint32_t VisitId(HitPages& pages, const PageId& page) {
    const auto guard = pages.cache().Write(page);
    return HitPages::NextOf(guard->bytes().data());
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE static uint32_t Visit(HitPages& pages, uint32_t page) {
    return VisitId(pages, pages.IdOf(page));
  }
};

// The next page's number is read from this page: nothing overlaps.
template <typename Way>
void Chain(HitPages& pages, uint32_t visits, uint32_t start) {
  uint32_t page = start;
  for (uint32_t i = 0; i < visits; ++i) page = Way::Visit(pages, page);
  benchmark::DoNotOptimize(page);
}

// The same, where each page has a pointer to the next, or a PageHint.
void PointerChain(HitPages& pages, uint32_t visits, uint32_t start) {
  const std::byte* page = pages.array()[start];
  for (uint32_t i = 0; i < visits; ++i)
    std::memcpy(&page, page + HitPages::kPointerAt, sizeof page);
  benchmark::DoNotOptimize(page);
}
void HintChain(HitPages& pages, uint32_t visits, uint32_t start) {
  PageHint hint = pages.HintOf(start);
  for (uint32_t i = 0; i < visits; ++i) {
    const OptimisticGuard guard = pages.cache().TryReadOptimistic(hint);
    if (!guard.has_page()) return;  // Compare() finds the hits missing
    const PageHint next = guard.view().Load<PageHint>(HitPages::kHintAt);
    if (guard.StillValid()) hint = next;
  }
  benchmark::DoNotOptimize(hint);
}

// The numbers are known beforehand: the processor overlaps what it can.
template <typename Way>
void Random(HitPages& pages, uint32_t visits, uint32_t start) {
  uint64_t state = start * 2654435761u + 1;
  uint32_t sum = 0;
  for (uint32_t i = 0; i < visits; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    sum += Way::Visit(pages, static_cast<uint32_t>((state >> 32) * pages.count() >> 32));
  }
  benchmark::DoNotOptimize(sum);
}

// The same, 16 pages at a time, for which the processor is asked while it visits the 16 before.
struct Batch {
  std::array<PageId, 16> ids;

  void Draw(HitPages& pages, uint64_t& state) {
    for (PageId& id : ids) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      id = pages.IdOf(static_cast<uint32_t>((state >> 32) * pages.count() >> 32));
    }
    pages.cache().PrefetchLines(ids);
  }
};
template <uint32_t (*Visit)(HitPages&, const Batch&)>
void Batches(HitPages& pages, uint32_t visits, uint32_t start) {
  uint64_t state = start * 2654435761u + 1;
  uint32_t sum = 0;
  Batch now, next;
  now.Draw(pages, state);
  for (uint32_t i = 0; i < visits; i += now.ids.size()) {
    next.Draw(pages, state);
    sum += Visit(pages, now);
    std::swap(now, next);
  }
  benchmark::DoNotOptimize(sum);
}
template <typename Way>
uint32_t OneByOne(HitPages& pages, const Batch& batch) {
  uint32_t sum = 0;
  for (const PageId& id : batch.ids) sum += Way::VisitId(pages, id);
  return sum;
}
uint32_t Together(HitPages& pages, const Batch& batch) {
  uint32_t sum = 0;
  std::array<OptimisticGuard, 16> guards;
  pages.cache().TryReadOptimisticMany(batch.ids, absl::MakeSpan(guards));
  for (const OptimisticGuard& guard : guards) {
    if (!guard.has_page()) continue;
    const uint32_t next = guard.view().Load<HitPages::Link>(0).next;
    if (guard.StillValid()) sum += next;
  }
  return sum;
}

// Few pages are wanted often: Zipf 0.99. The numbers come from a table that is read in order.
template <typename Way>
void Zipf(HitPages& pages, uint32_t visits, uint32_t start) {
  static std::vector<uint32_t> numbers;
  static uint32_t made_for = 0;
  if (made_for != pages.count()) {
    made_for = pages.count();
    const benchmarks::ZipfDistribution zipf(pages.count(), 0.99);
    benchmarks::FastRandom random(7);
    numbers.resize(1 << 20);
    // Scattered, so that the frequent ones are not each other's neighbours.
    for (uint32_t& number : numbers) {
      number = static_cast<uint32_t>(uint64_t{zipf.Next(random)} * 2654435761u % pages.count());
    }
  }
  uint32_t sum = 0;
  for (uint32_t i = 0; i < visits; ++i) {
    sum += Way::Visit(pages, numbers[(start + i) % numbers.size()]);
  }
  benchmark::DoNotOptimize(sum);
}

// One page, again and again.
template <typename Way>
void Hot(HitPages& pages, uint32_t visits, uint32_t start) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < visits; ++i) sum += Way::Visit(pages, start % 1);
  benchmark::DoNotOptimize(sum);
}

using Load = void (*)(HitPages&, uint32_t visits, uint32_t start);

double NanosecondsOf(Load load, HitPages& pages, uint32_t visits, uint32_t start) {
  const auto begin = std::chrono::steady_clock::now();
  load(pages, visits, start);
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
  return took.count() / visits;
}

double MedianOf(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

struct Comparison {
  double plain_ns = 0;
  double cache_ns = 0;
  double ratio = 0;  // the median of ratios, not the ratio of medians
};

// Of the same load on both sides. Ends the benchmark, and answers nothing, if there is no memory.
std::optional<Comparison> CompareOn(benchmark::State& state, uint32_t page_count, Load plain,
                                    Load ours, int pairs) {
  const auto pages = HitPages::Make(page_count);
  if (absl::IsResourceExhausted(pages.status())) {
    benchmarks::SkipNotHere(state, pages.status().message());
    return std::nullopt;
  }
  if (!pages.ok()) {
    state.SkipWithError(pages.status().ToString().c_str());
    return std::nullopt;
  }
  const uint32_t visits = benchmarks::Scale() == BenchScale::kTiny ? 10'000 : 1'000'000;
  std::vector<double> plain_ns, ours_ns, ratios;
  // As long as it takes that hits stop to write down anything.
  for (uint64_t visited = 0; visited < uint64_t{4} * page_count; visited += visits) {
    ours(**pages, visits, static_cast<uint32_t>(visited % page_count));
  }
  const uint64_t hits_before = (*pages)->cache().Stats().hits;
  for (int pair = 0; pair < pairs; ++pair) {
    const uint32_t start = static_cast<uint32_t>(pair * 7919) % page_count;
    plain_ns.push_back(NanosecondsOf(plain, **pages, visits, start));
    ours_ns.push_back(NanosecondsOf(ours, **pages, visits, start));
    ratios.push_back(ours_ns.back() / plain_ns.back());
  }
  if ((*pages)->cache().Stats().hits - hits_before < uint64_t{visits} * pairs) {
    state.SkipWithError("these were not hits");
    return std::nullopt;
  }
  return Comparison{
      .plain_ns = MedianOf(plain_ns), .cache_ns = MedianOf(ours_ns), .ratio = MedianOf(ratios)};
}

void Compare(benchmark::State& state, Load plain, Load ours) {
  std::optional<Comparison> comparison;
  for (auto _ : state) {
    comparison = CompareOn(state, static_cast<uint32_t>(state.range(0)), plain, ours, kPairs);
  }
  if (!comparison.has_value()) return;
  state.counters["plain_ns"] = comparison->plain_ns;
  state.counters["cache_ns"] = comparison->cache_ns;
  state.counters["ratio"] = comparison->ratio;
}

// How the ratio grows from the smaller to the larger number of pages.
template <typename Way>
void BM_Hit_Growth(benchmark::State& state) {
  for (auto _ : state) {
    const auto small =
        CompareOn(state, static_cast<uint32_t>(state.range(0)), Chain<ByArray>, Chain<Way>, kPairs);
    if (!small.has_value()) return;
    const auto large =
        CompareOn(state, static_cast<uint32_t>(state.range(1)), Chain<ByArray>, Chain<Way>, kPairs);
    if (!large.has_value()) return;
    state.counters["small_ratio"] = small->ratio;
    state.counters["large_ratio"] = large->ratio;
    state.counters["growth"] = large->ratio / small->ratio;
  }
}

template <typename Way>
void BM_Hit_Chain(benchmark::State& state) {
  Compare(state, Chain<ByArray>, Chain<Way>);
}
template <typename Way>
void BM_Hit_Random(benchmark::State& state) {
  Compare(state, Random<ByArray>, Random<Way>);
}

void BM_Hit_HintChain(benchmark::State& state) { Compare(state, PointerChain, HintChain); }
template <typename Way>
void BM_Hit_Zipf(benchmark::State& state) {
  Compare(state, Zipf<ByArray>, Zipf<Way>);
}
template <uint32_t (*Visit)(HitPages&, const Batch&)>
void BM_Hit_Batches(benchmark::State& state) {
  Compare(state, Random<ByArray>, Batches<Visit>);
}

// Two threads against one, on the same page: visits of both in a time, over visits of one.
template <typename Way>
void BM_Hit_TwoThreads(benchmark::State& state) {
  const auto pages = HitPages::Make(static_cast<uint32_t>(state.range(0)));
  if (!pages.ok()) return state.SkipWithError(pages.status().ToString().c_str());
  const uint32_t visits = benchmarks::Scale() == BenchScale::kTiny ? 10'000 : 5'000'000;
  const Load load = state.range(0) == 1 ? Hot<Way> : Random<Way>;
  std::vector<double> one_ns, two_ns, speedups;
  for (auto _ : state) {
    one_ns.push_back(NanosecondsOf(load, **pages, visits, 0));
    double other = 0;
    std::thread thread([&] { other = NanosecondsOf(load, **pages, visits, 1); });
    const double mine = NanosecondsOf(load, **pages, visits, 0);
    thread.join();
    two_ns.push_back(std::max(mine, other));
    speedups.push_back(2 * one_ns.back() / two_ns.back());
  }
  state.counters["one_ns"] = MedianOf(one_ns);
  state.counters["two_ns"] = MedianOf(two_ns);
  state.counters["speedup"] = MedianOf(speedups);
}

// Pages: in the processor's caches, 1 GiB of them, ...
void Sizes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("pages")->Iterations(1)->Arg(1000);
  if (benchmarks::Scale() != BenchScale::kTiny) benchmark->Arg(1 << 18);
  if (benchmarks::Scale() == BenchScale::kFull) benchmark->Arg(1 << 16)->Arg(1 << 21);
}
void GrowthSizes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"small", "large"})->Iterations(1);
  const bool full = benchmarks::Scale() == BenchScale::kFull;
  full ? benchmark->Args({1 << 16, 1 << 22}) : benchmark->Args({1000, 2000});
}
BENCHMARK(BM_Hit_Chain<ByShared>)->Apply(Sizes);
BENCHMARK(BM_Hit_Chain<ByTryShared>)->Apply(Sizes);
BENCHMARK(BM_Hit_Chain<ByOptimistic>)->Apply(Sizes);
BENCHMARK(BM_Hit_Chain<ByTryOptimistic>)->Apply(Sizes);
BENCHMARK(BM_Hit_HintChain)->Apply(Sizes);
BENCHMARK(BM_Hit_Random<ByShared>)->Apply(Sizes);
BENCHMARK(BM_Hit_Random<ByTryShared>)->Apply(Sizes);
BENCHMARK(BM_Hit_Random<ByOptimistic>)->Apply(Sizes);
BENCHMARK(BM_Hit_Random<ByTryOptimistic>)->Apply(Sizes);
BENCHMARK(BM_Hit_Random<ByExclusive>)->Apply(Sizes);
BENCHMARK(BM_Hit_Batches<OneByOne<ByTryShared>>)->Apply(Sizes);
BENCHMARK(BM_Hit_Batches<OneByOne<ByTryOptimistic>>)->Apply(Sizes);
BENCHMARK(BM_Hit_Batches<Together>)->Apply(Sizes);
BENCHMARK(BM_Hit_Zipf<ByTryShared>)->Apply(Sizes);
BENCHMARK(BM_Hit_Zipf<ByTryOptimistic>)->Apply(Sizes);
BENCHMARK(BM_Hit_Growth<ByTryShared>)->Apply(GrowthSizes);
BENCHMARK(BM_Hit_Growth<ByTryOptimistic>)->Apply(GrowthSizes);
BENCHMARK(BM_Hit_TwoThreads<ByTryShared>)->ArgName("pages")->Iterations(kPairs)->Arg(1)->Arg(1000);
BENCHMARK(BM_Hit_TwoThreads<ByTryOptimistic>)
    ->ArgName("pages")
    ->Iterations(kPairs)
    ->Arg(1)
    ->Arg(1000);

}  // namespace
}  // namespace fixpool::storage
