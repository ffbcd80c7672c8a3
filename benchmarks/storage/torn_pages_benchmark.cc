// What protection from torn pages costs: one thread changes pages at random as fast as it may, and
// the cache's own thread writes them as fast as it can.
//
// All pages are in memory, so nothing is read. `written_per_s`: pages that reached their file.
// `bytes_per_page`: what went to the disk for each of these, copies and headers included, as the
// kernel counts it (write_bytes in /proc/self/io).

#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <memory>
#include <random>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "benchmark/benchmark.h"
#include "benchmarks/support/bench_scale.h"
#include "benchmarks/support/not_here.h"
#include "fixpool/storage/crc32c_seal.h"
#include "fixpool/storage/file_options.h"
#include "fixpool/storage/page_cache.h"

namespace fixpool::storage {
namespace {

constexpr uint32_t kPageBytes = 4096;

uint64_t Pages() { return benchmarks::Scale() == benchmarks::BenchScale::kTiny ? 512 : 16384; }

uint64_t WrittenBytes() {
  std::ifstream in("/proc/self/io");
  std::string name;
  uint64_t value = 0;
  while (in >> name >> value) {
    if (name == "write_bytes:") return value;
  }
  return 0;
}

void Run(benchmark::State& state, TornPageProtection protection) {
  const std::string path = benchmarks::BenchDirectory() + "/torn_pages_benchmark.db";
  auto cache = PageCache::Create({.memory_bytes = (Pages() + Pages() / 8) * kPageBytes});
  if (!cache.ok()) return state.SkipWithError(cache.status().ToString().c_str());
  FileOptions options{.create = true,
                      .preallocate_bytes = Pages() * kPageBytes,
                      .seal = std::make_shared<Crc32cSeal>(),
                      .identity = 0x5eed,
                      .torn_pages = protection};
  const auto file = (*cache)->OpenFile(path, options);
  if (absl::IsUnimplemented(file.status())) {
    unlink(path.c_str());
    return benchmarks::SkipNotHere(state, file.status().message());
  }
  if (!file.ok()) return state.SkipWithError(file.status().ToString().c_str());
  for (uint64_t page = 0; page < Pages(); ++page) (void)(*cache)->Read({*file, page});
  const uint64_t bytes_before = WrittenBytes();
  std::mt19937_64 random(1);
  absl::Status status;
  for (auto iteration : state) {
    auto page = (*cache)->Write({*file, random() % Pages()});
    if (!page.ok()) {
      status = page.status();
      break;
    }
    page->mutable_bytes()[0] ^= std::byte{1};
  }
  const CacheStats stats = (*cache)->Stats();
  status.Update((*cache)->CloseFile(*file));
  const uint64_t bytes = WrittenBytes() - bytes_before;
  const double pages = static_cast<double>((*cache)->Stats().writes);
  state.counters["written_per_s"] =
      benchmark::Counter(static_cast<double>(stats.writes), benchmark::Counter::kIsRate);
  state.counters["bytes_per_page"] = pages > 0 ? static_cast<double>(bytes) / pages : 0;
  cache->reset();
  unlink(path.c_str());
  unlink((path + ".double_write").c_str());
  if (!status.ok()) state.SkipWithError(status.ToString().c_str());
}

void BM_TornPages_None(benchmark::State& state) { Run(state, TornPageProtection::kNone); }
BENCHMARK(BM_TornPages_None)->UseRealTime();

void BM_TornPages_DoubleWrite(benchmark::State& state) {
  Run(state, TornPageProtection::kDoubleWrite);
}
BENCHMARK(BM_TornPages_DoubleWrite)->UseRealTime();

// Skipped where the file system has none.
void BM_TornPages_Atomic(benchmark::State& state) { Run(state, TornPageProtection::kAtomic); }
BENCHMARK(BM_TornPages_Atomic)->UseRealTime();

}  // namespace
}  // namespace fixpool::storage
