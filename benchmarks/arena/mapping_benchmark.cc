// What it costs to have memory ready for transfers: mapped, faulted in, looked at, registered.
//
// Beside it stands faulting the same memory in and no more, by storing a byte to every 4 KiB and
// by MADV_POPULATE_WRITE, with as many threads. On huge pages nearly all of the time of each is
// the kernel's clearing of pages. 8 GiB, or what there is: too much for a run without --full.

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "benchmarks/memory_need.h"
#include "benchmarks/support/bench_scale.h"
#include "benchmarks/support/not_here.h"
#include "fixpool/arena/address_range.h"
#include "fixpool/arena/format_bytes.h"
#include "fixpool/arena/huge_page_settings.h"
#include "fixpool/arena/ladder.h"
#include "fixpool/arena/mapping.h"
#include "fixpool/arena/page_backing.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/memory_region.h"
#include "fixpool/io/open_engine.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace fixpool::arena {
namespace {

using benchmarks::BenchScale;
using benchmarks::SkipNotHere;

constexpr size_t kMiB = size_t{1} << 20;
constexpr size_t kGiB = size_t{1} << 30;

struct Setting {
  PageBacking backing;
  uint32_t threads;
};

// The same amount in regions of the same size for all that are compared. A region is at most
// 1 GiB, so 8 GiB are eight of them.
struct Amount {
  size_t region_bytes;
  size_t region_count;

  size_t size_bytes() const { return region_bytes * region_count; }
};

// Half of what is free: the kernel looks for room before it says no.
Amount AmountOf(PageBacking backing) {
  if (benchmarks::Scale() == BenchScale::kTiny)
    return {.region_bytes = 4 * kMiB, .region_count = 2};
  size_t free_bytes = benchmarks::AvailableBytes() / 2;
  if (backing == PageBacking::k2MiB) {
    const std::optional<HugePagePool> pool = ReadHugePagePool(2 * kMiB);
    free_bytes = pool.has_value() ? pool->available() * 2 * kMiB : 0;
  }
  const size_t size_bytes = std::min(8 * kGiB, free_bytes);
  if (size_bytes >= kGiB) return {.region_bytes = kGiB, .region_count = size_bytes / kGiB};
  return {.region_bytes = 64 * kMiB, .region_count = size_bytes / (64 * kMiB)};
}

// The memory alone, as Mapping would ask for it, nothing of it faulted in.
absl::StatusOr<AddressRange> MapOnly(PageBacking backing, size_t size_bytes) {
  if (backing == PageBacking::k2MiB) return AddressRange::MapHugetlb(size_bytes, 2 * kMiB);
  absl::StatusOr<AddressRange> range = AddressRange::MapOrdinary(size_bytes);
  if (!range.ok()) return range;
  const int advice = backing == PageBacking::kTransparent ? MADV_HUGEPAGE : MADV_NOHUGEPAGE;
  const int error = range->Advise(advice);
  if (error != 0) return absl::UnimplementedError(absl::StrCat("madvise: ", std::strerror(error)));
  return range;
}

// Calls `work` with one part of `range` in each of `threads` threads.
template <typename Work>
void InParts(const AddressRange& range, uint32_t threads, Work work) {
  const size_t part_bytes = range.size_bytes() / threads;
  std::vector<std::thread> others;
  for (uint32_t i = 1; i < threads; ++i)
    others.emplace_back(work, range.base() + i * part_bytes, part_bytes);
  work(range.base(), part_bytes);
  for (std::thread& other : others) other.join();
}

void StoreEverywhere(std::byte* base, size_t size_bytes) {
  for (size_t i = 0; i < size_bytes; i += 4096) {
    *static_cast<volatile std::byte*>(base + i) = std::byte{0};
  }
}

void Populate(std::byte* base, size_t size_bytes) {
  // A kernel without it shows as a figure that is too good; the rest needs Linux 5.19 anyway.
  benchmark::DoNotOptimize(madvise(base, size_bytes, MADV_POPULATE_WRITE));
}

// Times `make_region` for all regions; giving back what it made is not timed.
template <typename Made>
void MakeAll(benchmark::State& state, const Setting& setting,
             const std::function<absl::StatusOr<Made>(size_t)>& make_region) {
  const Amount amount = AmountOf(setting.backing);
  if (amount.region_count == 0) return SkipNotHere(state, "too little free memory of that kind");
  for (auto _ : state) {
    std::vector<Made> all;
    for (size_t i = 0; i < amount.region_count; ++i) {
      absl::StatusOr<Made> made = make_region(amount.region_bytes);
      if (!made.ok()) return SkipNotHere(state, made.status().message());
      all.push_back(*std::move(made));
    }
    state.PauseTiming();
    all.clear();
    state.ResumeTiming();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(amount.size_bytes()));
  state.SetLabel(FormatBytes(amount.size_bytes()));
}

void MapAndRegister(benchmark::State& state, const Setting& setting) {
  auto registry = io::FixedBufferRegistry::Create({}).value();
  const auto engine = io::OpenEngine(registry.get());
  if (!engine.ok() || (*engine)->Report().level != io::EngineLevel::kUringFixed) {
    return SkipNotHere(state, "no registered buffers");
  }
  MakeAll<io::Registration>(state, setting, [&](size_t region_bytes) {
    const auto mapping = Mapping::Create(region_bytes, {.ladder = Ladder::Only(setting.backing),
                                                        .prefault_threads = setting.threads});
    if (!mapping.ok()) return absl::StatusOr<io::Registration>(mapping.status());
    return registry->Register(
        io::MemoryRegion::Create((*mapping)->base(), region_bytes).value(),
        {.backing = *mapping, .fixed = io::FixedBufferRegistry::FixedPolicy::kRequire});
  });
}

template <typename Work>
void FaultInOnly(benchmark::State& state, const Setting& setting, Work work) {
  MakeAll<AddressRange>(state, setting, [&](size_t region_bytes) {
    absl::StatusOr<AddressRange> range = MapOnly(setting.backing, region_bytes);
    if (range.ok()) InParts(*range, setting.threads, work);
    return range;
  });
}

void Register(const char* name, const Setting& setting,
              const std::function<void(benchmark::State&, const Setting&)>& run) {
  const std::string full_name = absl::StrCat(
      "BM_", name, "/pages:", PageBackingName(setting.backing), "/threads:", setting.threads);
  benchmark::RegisterBenchmark(full_name.c_str(),
                               [setting, run](benchmark::State& state) { run(state, setting); })
      ->UseRealTime()
      ->MeasureProcessCPUTime()
      ->Unit(benchmark::kMillisecond);
}

bool RegisterAll() {
  for (const PageBacking backing :
       {PageBacking::k2MiB, PageBacking::kTransparent, PageBacking::k4KiB}) {
    for (const uint32_t threads : {1u, 2u, 4u, 8u}) {
      const Setting setting = {.backing = backing, .threads = threads};
      Register("Mapping_CreateAndRegister", setting, MapAndRegister);
      Register("PlainLoop_FaultIn", setting, [](benchmark::State& state, const Setting& s) {
        FaultInOnly(state, s, StoreEverywhere);
      });
      Register("PopulateWrite_FaultIn", setting,
               [](benchmark::State& state, const Setting& s) { FaultInOnly(state, s, Populate); });
    }
  }
  return true;
}

[[maybe_unused]] const bool registered = RegisterAll();

}  // namespace
}  // namespace fixpool::arena
