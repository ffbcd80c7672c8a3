// What looking for scans adds to a miss, beside the look-ups of a hash map that would find the scan
// by its next page.

#include <cstdint>
#include <random>
#include <unordered_map>
#include <vector>

#include "benchmark/benchmark.h"
#include "fixpool/storage/scan_detector.h"

namespace fixpool::storage {
namespace {

constexpr ScanDetector::Bounds kBounds{.largest_window = 2048, .page_count = 4'000'000};

std::vector<PageNumber> PagesAtRandom() {
  std::mt19937_64 random(1);
  std::vector<PageNumber> pages(4096);
  for (PageNumber& page : pages) page = 1'000'000 + random() % 3'000'000;
  return pages;
}

void BM_ScanDetector_MissAtRandom(benchmark::State& state) {
  ScanDetector detector;
  // So many scans are under way elsewhere in the file.
  for (int64_t scan = 0; scan < state.range(0); ++scan) {
    for (PageNumber page = 0; page < ScanDetector::kRunToStart; ++page) {
      (void)detector.OnAccess(static_cast<PageNumber>(scan) * 100'000 + page,
                              ScanDetector::Access::kMissing, kBounds);
    }
  }
  const std::vector<PageNumber> pages = PagesAtRandom();
  size_t next = 0;
  for (auto _ : state) {
    const ScanDetector::Note note =
        detector.OnAccess(pages[next++ % pages.size()], ScanDetector::Access::kMissing, kBounds);
    benchmark::DoNotOptimize(note.scan);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_ScanDetector_MissAtRandom)->ArgName("scans")->Arg(0)->Arg(8);

void BM_HashMap_MissAtRandom(benchmark::State& state) {
  std::unordered_map<PageNumber, uint32_t> runs;
  for (PageNumber page = 0; page < ScanDetector::kCandidates; ++page) runs[page] = 1;
  const std::vector<PageNumber> pages = PagesAtRandom();
  size_t next = 0;
  for (auto _ : state) benchmark::DoNotOptimize(runs.find(pages[next++ % pages.size()]));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_HashMap_MissAtRandom);

}  // namespace
}  // namespace fixpool::storage
