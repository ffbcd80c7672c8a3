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
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/attributes.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "benchmarks/support/bench_scale.h"
#include "fixpool/storage/page_cache.h"

namespace fixpool::storage {
namespace {

using benchmarks::BenchScale;

constexpr int kPairs = 9;
constexpr uint32_t kFiles = 4;
constexpr uint32_t kPageBytes = 4096;

// What one page of the chain says: where to go next.
struct Link {
  uint32_t next;
  uint32_t unused;
};

// Pages of several files, all of them in memory, each naming another in its first bytes such
// that following them visits all. The files are sparse and never written to.
class Pages {
 public:
  static absl::StatusOr<std::unique_ptr<Pages>> Make(uint32_t count) {
    auto pages = std::make_unique<Pages>();
    auto cache = PageCache::Create({.memory_bytes = size_t{count} * kPageBytes, .free_frames = 0});
    if (!cache.ok()) return cache.status();
    pages->cache_ = *std::move(cache);
    for (uint32_t i = 0; i < kFiles; ++i) {
      const std::string path = absl::StrCat(benchmarks::BenchDirectory(), "/hit_benchmark.", i);
      const auto file = pages->cache_->OpenFile(path, {.create = true});
      if (!file.ok()) return file.status();
      pages->files_.push_back(*file);
      std::remove(path.c_str());
    }
    if (absl::Status status = pages->Fill(count); !status.ok()) return status;
    return pages;
  }
  ~Pages() {
    for (const FileId file : files_) (void)cache_->CloseFile(file, {.discard_changes = true});
  }

  PageCache& cache() { return *cache_; }
  uint32_t count() const { return count_; }
  PageId IdOf(uint32_t page) const { return {files_[page % kFiles], page / kFiles}; }
  const std::byte* const* array() const { return array_.data(); }

 private:
  absl::Status Fill(uint32_t count) {
    std::vector<uint32_t> order(count);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::mt19937_64(1));
    std::vector<uint32_t> next(count);
    for (uint32_t i = 0; i < count; ++i) next[order[i]] = order[(i + 1) % count];
    // In the order of page numbers, so that the chain goes back and forth in memory as well.
    for (uint32_t page = 0; page < count; ++page) {
      auto guard = cache_->Make(IdOf(page));
      if (!guard.ok()) return guard.status();
      const Link link{.next = next[page], .unused = 0};
      std::memcpy(guard->mutable_bytes().data(), &link, sizeof link);
      array_.push_back(guard->bytes().data());
    }
    count_ = count;
    return absl::OkStatus();
  }

  std::unique_ptr<PageCache> cache_;
  std::vector<FileId> files_;
  std::vector<const std::byte*> array_;
  uint32_t count_ = 0;
};

uint32_t NextOf(const std::byte* page) {
  Link link;
  std::memcpy(&link, page, sizeof link);
  return link.next;
}

// The ways to a page. Each returns what the page says.
struct ByArray {
  ABSL_ATTRIBUTE_ALWAYS_INLINE static uint32_t Visit(Pages& pages, uint32_t page) {
    return NextOf(pages.array()[page]);
  }
};
struct ByShared {
  ABSL_ATTRIBUTE_ALWAYS_INLINE static uint32_t VisitId(Pages& pages, const PageId& page) {
    const auto guard = pages.cache().Read(page);
    return NextOf(guard->bytes().data());
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE static uint32_t Visit(Pages& pages, uint32_t page) {
    return VisitId(pages, pages.IdOf(page));
  }
};
struct ByOptimistic {
  ABSL_ATTRIBUTE_ALWAYS_INLINE static uint32_t VisitId(Pages& pages, const PageId& page) {
    const auto guard = pages.cache().ReadOptimistic(page);
    const uint32_t next = guard->view().Load<Link>(0).next;
    return guard->StillValid() ? next : 0;
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE static uint32_t Visit(Pages& pages, uint32_t page) {
    return VisitId(pages, pages.IdOf(page));
  }
};
struct ByTryShared {
  ABSL_ATTRIBUTE_ALWAYS_INLINE static uint32_t VisitId(Pages& pages, const PageId& page) {
    const auto guard = pages.cache().TryRead(page);
    return guard.has_value() ? NextOf(guard->bytes().data()) : 0;
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE static uint32_t Visit(Pages& pages, uint32_t page) {
    return VisitId(pages, pages.IdOf(page));
  }
};
struct ByTryOptimistic {
  ABSL_ATTRIBUTE_ALWAYS_INLINE static uint32_t VisitId(Pages& pages, const PageId& page) {
    const OptimisticGuard guard = pages.cache().TryReadOptimistic(page);
    if (!guard.has_page()) return 0;
    const uint32_t next = guard.view().Load<Link>(0).next;
    return guard.StillValid() ? next : 0;
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE static uint32_t Visit(Pages& pages, uint32_t page) {
    return VisitId(pages, pages.IdOf(page));
  }
};
struct ByExclusive {
  ABSL_ATTRIBUTE_ALWAYS_INLINE static uint32_t VisitId(Pages& pages, const PageId& page) {
    const auto guard = pages.cache().Write(page);
    return NextOf(guard->bytes().data());
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE static uint32_t Visit(Pages& pages, uint32_t page) {
    return VisitId(pages, pages.IdOf(page));
  }
};

// The next page's number is read from this page: nothing overlaps.
template <typename Way>
void Chain(Pages& pages, uint32_t visits, uint32_t start) {
  uint32_t page = start;
  for (uint32_t i = 0; i < visits; ++i) page = Way::Visit(pages, page);
  benchmark::DoNotOptimize(page);
}

// The numbers are known beforehand: the processor overlaps what it can.
template <typename Way>
void Random(Pages& pages, uint32_t visits, uint32_t start) {
  uint64_t state = start * 2654435761u + 1;
  uint32_t sum = 0;
  for (uint32_t i = 0; i < visits; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    sum += Way::Visit(pages, static_cast<uint32_t>((state >> 32) * pages.count() >> 32));
  }
  benchmark::DoNotOptimize(sum);
}

// The same, 16 pages at a time, for which the processor is asked before they are visited.
template <typename Way>
void Batches(Pages& pages, uint32_t visits, uint32_t start) {
  constexpr uint32_t kBatch = 16;
  uint64_t state = start * 2654435761u + 1;
  uint32_t sum = 0;
  std::array<PageId, kBatch> ids;
  for (uint32_t i = 0; i < visits; i += kBatch) {
    for (PageId& id : ids) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      id = pages.IdOf(static_cast<uint32_t>((state >> 32) * pages.count() >> 32));
    }
    pages.cache().PrefetchLines(ids);
    for (const PageId& id : ids) sum += Way::VisitId(pages, id);
  }
  benchmark::DoNotOptimize(sum);
}

// One page, again and again.
template <typename Way>
void Hot(Pages& pages, uint32_t visits, uint32_t start) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < visits; ++i) sum += Way::Visit(pages, start % 1);
  benchmark::DoNotOptimize(sum);
}

using Load = void (*)(Pages&, uint32_t visits, uint32_t start);

double NanosecondsOf(Load load, Pages& pages, uint32_t visits, uint32_t start) {
  const auto begin = std::chrono::steady_clock::now();
  load(pages, visits, start);
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
  return took.count() / visits;
}

double MedianOf(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

// Of the same load on both sides.
void Compare(benchmark::State& state, Load array, Load ours) {
  const auto pages = Pages::Make(static_cast<uint32_t>(state.range(0)));
  if (!pages.ok()) return state.SkipWithError(pages.status().ToString().c_str());
  const uint32_t visits = benchmarks::Scale() == BenchScale::kTiny ? 10'000 : 1'000'000;
  std::vector<double> array_ns, ours_ns, ratios;
  ours(**pages, visits, 0);
  for (auto _ : state) {
    const uint32_t start = static_cast<uint32_t>(ratios.size() * 7919) % (*pages)->count();
    array_ns.push_back(NanosecondsOf(array, **pages, visits, start));
    ours_ns.push_back(NanosecondsOf(ours, **pages, visits, start));
    ratios.push_back(ours_ns.back() / array_ns.back());
  }
  const CacheStats stats = (*pages)->cache().Stats();
  if (stats.hits < visits * ratios.size()) return state.SkipWithError("these were not hits");
  state.counters["array_ns"] = MedianOf(array_ns);
  state.counters["cache_ns"] = MedianOf(ours_ns);
  state.counters["ratio"] = MedianOf(ratios);
}

template <typename Way>
void BM_Hit_Chain(benchmark::State& state) {
  Compare(state, Chain<ByArray>, Chain<Way>);
}
template <typename Way>
void BM_Hit_Random(benchmark::State& state) {
  Compare(state, Random<ByArray>, Random<Way>);
}

template <typename Way>
void BM_Hit_Batches(benchmark::State& state) {
  Compare(state, Random<ByArray>, Batches<Way>);
}

// Two threads against one, on the same page: visits of both in a time, over visits of one.
template <typename Way>
void BM_Hit_TwoThreads(benchmark::State& state) {
  const auto pages = Pages::Make(static_cast<uint32_t>(state.range(0)));
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

// Pages: in the processor's caches, 1 GiB of them.
void Sizes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("pages")->Iterations(kPairs)->Arg(1000);
  if (benchmarks::Scale() != BenchScale::kTiny) benchmark->Arg(1 << 18);
  if (benchmarks::Scale() == BenchScale::kFull) benchmark->Arg(1 << 16)->Arg(1 << 21);
}
BENCHMARK(BM_Hit_Chain<ByShared>)->Apply(Sizes);
BENCHMARK(BM_Hit_Chain<ByTryShared>)->Apply(Sizes);
BENCHMARK(BM_Hit_Chain<ByTryOptimistic>)->Apply(Sizes);
BENCHMARK(BM_Hit_Chain<ByOptimistic>)->Apply(Sizes);
BENCHMARK(BM_Hit_Random<ByShared>)->Apply(Sizes);
BENCHMARK(BM_Hit_Random<ByTryShared>)->Apply(Sizes);
BENCHMARK(BM_Hit_Random<ByTryOptimistic>)->Apply(Sizes);
BENCHMARK(BM_Hit_Random<ByOptimistic>)->Apply(Sizes);
BENCHMARK(BM_Hit_Random<ByExclusive>)->Apply(Sizes);
BENCHMARK(BM_Hit_Batches<ByTryShared>)->Apply(Sizes);
BENCHMARK(BM_Hit_Batches<ByTryOptimistic>)->Apply(Sizes);
BENCHMARK(BM_Hit_TwoThreads<ByShared>)->ArgName("pages")->Iterations(kPairs)->Arg(1)->Arg(1000);
BENCHMARK(BM_Hit_TwoThreads<ByOptimistic>)->ArgName("pages")->Iterations(kPairs)->Arg(1)->Arg(1000);

}  // namespace
}  // namespace fixpool::storage
