// What a page cache takes beside its pages: by its own account, and by the kernel's. The goal is
// 40 bytes a frame, and 8 for each page of every stretch of words that was touched.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "benchmarks/memory_need.h"
#include "benchmarks/support/bench_scale.h"
#include "benchmarks/support/not_here.h"
#include "fixpool/storage/page_cache.h"

namespace fixpool::storage {
namespace {

using benchmarks::BenchScale;

constexpr uint32_t kPageBytes = 4096;

// Anonymous memory of this process, transparent huge pages included and hugetlb not.
size_t AnonymousBytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    size_t kib = 0;
    if (word == "RssAnon:" && status >> kib) return kib << 10;
  }
  return 0;
}

// Makes every `every`th page of a sparse file until all frames hold one. They are never written.
absl::Status Fill(PageCache& cache, FileId file, uint64_t every) {
  for (uint64_t i = 0; i < cache.frame_count(); ++i) {
    if (auto page = cache.Make({file, i * every}); !page.ok()) return page.status();
  }
  return absl::OkStatus();
}

void BM_Memory_BesideThePages(benchmark::State& state) {
  const auto frames = static_cast<size_t>(state.range(0));
  const size_t page_memory_bytes = frames * kPageBytes;
  if (page_memory_bytes > benchmarks::AvailableBytes() / 10 * 9) {
    return benchmarks::SkipNotHere(state, absl::StrCat(frames, " pages are more than there is"));
  }
  for (auto _ : state) {
    const size_t before_bytes = AnonymousBytes();
    // Not on hugetlb pages, which the kernel counts elsewhere.
    auto cache = PageCache::Create({.memory_bytes = page_memory_bytes,
                                    .ladder = arena::Ladder::Only(arena::PageBacking::kTransparent),
                                    .free_frames = 0});
    if (!cache.ok()) return state.SkipWithError(cache.status().ToString().c_str());
    const std::string path = absl::StrCat(benchmarks::BenchDirectory(), "/memory_benchmark.data");
    const auto file = (*cache)->OpenFile(path, {.create = true});
    std::remove(path.c_str());
    if (!file.ok()) return state.SkipWithError(file.status().ToString().c_str());
    const absl::Status filled = Fill(**cache, *file, static_cast<uint64_t>(state.range(1)));
    if (!filled.ok()) return state.SkipWithError(filled.ToString().c_str());
    const CacheStats stats = (*cache)->Stats();
    const double all_bytes = static_cast<double>(AnonymousBytes() - before_bytes) -
                             static_cast<double>(page_memory_bytes);
    const auto count = static_cast<double>(stats.frame_count);
    state.counters["tables_bytes_per_frame"] =
        static_cast<double>(stats.metadata_bytes - stats.word_bytes) / count;
    state.counters["words_bytes_per_frame"] = static_cast<double>(stats.word_bytes) / count;
    // With what no table is about: the arena's reports, rings, the allocator's own.
    state.counters["measured_bytes_per_frame"] = all_bytes / count;
    (void)(*cache)->CloseFile(*file, {.discard_changes = true});
  }
}

// Frames; and how far apart their pages are.
void Shapes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"frames", "every"})->Iterations(1);
  if (benchmarks::Scale() == BenchScale::kTiny) {
    benchmark->Args({1 << 12, 1});
    return;
  }
  benchmark->Args({1 << 18, 1})->Args({1 << 18, 16});
  if (benchmarks::Scale() == BenchScale::kFull) benchmark->Args({1 << 21, 1});
}
BENCHMARK(BM_Memory_BesideThePages)->Apply(Shapes);

}  // namespace
}  // namespace fixpool::storage
