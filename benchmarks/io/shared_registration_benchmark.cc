// What it costs to have many rings over the same memory.
//
// Rings of one registry share one registration of its memory where the kernel can (Linux 6.13).
// The goal: 8 GiB in 64 rings take at most 1.5 times as long as in one.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "benchmark/benchmark.h"
#include "benchmarks/support/arena_memory.h"
#include "benchmarks/support/not_here.h"
#include "fixpool/arena/mapping.h"
#include "fixpool/arena/page_backing.h"
#include "fixpool/io/engine_options.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/memory_region.h"
#include "fixpool/io/open_engine.h"

namespace fixpool::benchmarks {
namespace {

using arena::Mapping;
using io::FixedBufferRegistry;
using io::MemoryRegion;

using Mappings = std::vector<std::shared_ptr<Mapping>>;

absl::StatusOr<Mappings> MapAll() {
  Mappings mappings;
  for (uint64_t left = ArenaBytes(); left > 0;) {
    const size_t size_bytes = std::min<uint64_t>(left, MemoryRegion::kMaxBytes);
    auto mapping = Mapping::Create(size_bytes);
    if (!mapping.ok()) return mapping.status();
    mappings.push_back(*std::move(mapping));
    left -= size_bytes;
  }
  return mappings;
}

// Mapped and faulted in once, for all benchmarks here.
const absl::StatusOr<Mappings>& Memory() {
  static const auto* const memory = new absl::StatusOr<Mappings>(MapAll());
  return *memory;
}

// A registry with rings, and perhaps all of the memory. What comes last is destroyed first.
class Rings {
 public:
  absl::Status Open(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      auto engine =
          io::OpenEngine(registry_.get(), {.depth = 32, .require = io::EngineLevel::kUringFixed});
      if (!engine.ok()) return engine.status();
      engines_.push_back(*std::move(engine));
    }
    return absl::OkStatus();
  }
  void CloseLast() { engines_.pop_back(); }

  absl::Status Register() {
    if (!Memory().ok()) return Memory().status();
    std::vector<MemoryRegion> regions;
    for (const auto& mapping : *Memory()) {
      regions.push_back(*MemoryRegion::Create(mapping->base(), mapping->size_bytes()));
    }
    auto registrations =
        registry_->RegisterAll(regions, {.fixed = FixedBufferRegistry::FixedPolicy::kRequire});
    if (!registrations.ok()) return registrations.status();
    registrations_ = *std::move(registrations);
    return absl::OkStatus();
  }

 private:
  const std::unique_ptr<FixedBufferRegistry> registry_ = *FixedBufferRegistry::Create({});
  std::vector<io::Registration> registrations_;
  std::vector<std::unique_ptr<io::IoEngine>> engines_;
};

void LabelMemory(benchmark::State& state) {
  uint64_t size_bytes = 0;
  arena::PageBacking worst = arena::PageBacking::k1GiB;
  for (const auto& mapping : *Memory()) {
    size_bytes += mapping->size_bytes();
    worst = std::max(worst, mapping->backing());
  }
  state.SetLabel(DescribeMemory(size_bytes, worst));
}

// All of the memory into rings that are open.
void BM_SharedRegistration_Register(benchmark::State& state) {
  for (auto _ : state) {
    state.PauseTiming();
    auto rings = std::make_unique<Rings>();
    absl::Status status = rings->Open(static_cast<size_t>(state.range(0)));
    if (status.ok()) status = Memory().status();
    state.ResumeTiming();
    if (status.ok()) status = rings->Register();
    state.PauseTiming();
    if (!status.ok()) return SkipNotHere(state, status.ToString());
    rings.reset();
    state.ResumeTiming();
  }
  LabelMemory(state);
}

// One ring more where all of the memory is registered, and away again. Opening a ring includes
// its probe, which is what the baseline is about.
void BM_SharedRegistration_AttachDetach(benchmark::State& state) {
  Rings rings;
  absl::Status status = rings.Open(1);
  if (status.ok()) status = rings.Register();
  for (auto _ : state) {
    if (status.ok()) status = rings.Open(1);
    if (!status.ok()) return SkipNotHere(state, status.ToString());
    rings.CloseLast();
  }
  state.SetItemsProcessed(state.iterations());
  LabelMemory(state);
}

void BM_Baseline_OpenCloseWithoutMemory(benchmark::State& state) {
  Rings rings;
  absl::Status status = rings.Open(1);
  for (auto _ : state) {
    if (status.ok()) status = rings.Open(1);
    if (!status.ok()) return SkipNotHere(state, status.ToString());
    rings.CloseLast();
  }
  state.SetItemsProcessed(state.iterations());
}

BENCHMARK(BM_SharedRegistration_Register)
    ->ArgName("rings")
    ->Arg(1)
    ->Arg(64)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK(BM_SharedRegistration_AttachDetach)->Unit(benchmark::kMicrosecond)->UseRealTime();
BENCHMARK(BM_Baseline_OpenCloseWithoutMemory)->Unit(benchmark::kMicrosecond)->UseRealTime();

}  // namespace
}  // namespace fixpool::benchmarks
