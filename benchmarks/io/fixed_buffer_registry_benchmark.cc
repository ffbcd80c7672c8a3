// What it costs to ask whether the kernel may have some bytes.
//
// Beside the registry's answers stands what a program would do that trusts its handles: one
// load from an array of base addresses.

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "benchmark/benchmark.h"
#include "fixpool/io/error.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/memory_region.h"
#include "fixpool/io/region_id.h"

namespace fixpool::io {
namespace {

constexpr size_t kRegionBytes = size_t{2} << 20;
constexpr size_t kPageBytes = 4096;
constexpr size_t kQuestions = 1024;  // fit the CPU's caches, and no branch predictor

// Bytes somewhere in a region.
struct Question {
  RegionId region;
  std::byte* data;
};

// Regions that nobody may touch: no ring is attached, so nobody does.
class Regions {
 public:
  explicit Regions(size_t count)
      : size_bytes_(count * kRegionBytes),
        base_(static_cast<std::byte*>(mmap(nullptr, size_bytes_, PROT_NONE,
                                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))),
        registry_(FixedBufferRegistry::Create({}).value()) {
    for (size_t i = 0; i < count; ++i) {
      const auto region = MemoryRegion::Create(base_ + i * kRegionBytes, kRegionBytes);
      registrations_.push_back(registry_->Register(region.value()).value());
    }
  }
  ~Regions() {
    registrations_.clear();
    munmap(base_, size_bytes_);
  }
  Regions(const Regions&) = delete;
  Regions& operator=(const Regions&) = delete;

  FixedBufferRegistry& registry() { return *registry_; }
  std::byte* base(size_t region) const { return base_ + region * kRegionBytes; }

  // The same in every run.
  std::vector<Question> Questions() const {
    std::mt19937_64 random(1);
    std::vector<Question> questions;
    for (size_t i = 0; i < kQuestions; ++i) {
      const size_t region = random() % registrations_.size();
      const size_t page = random() % (kRegionBytes / kPageBytes);
      questions.push_back({registrations_[region].id(), base(region) + page * kPageBytes});
    }
    return questions;
  }

 private:
  const size_t size_bytes_;
  std::byte* const base_;
  std::unique_ptr<FixedBufferRegistry> registry_;
  std::vector<Registration> registrations_;
};

// What a caller wants to know of an answer. Keeping the optional itself would have it stored in
// two pieces and loaded as one, which costs more than all the rest.
void Keep(std::optional<ValidationError> error) { benchmark::DoNotOptimize(error.has_value()); }

// Asks `ask(registry, question)` again and again.
template <typename Ask>
void AskAll(benchmark::State& state, Ask ask) {
  Regions regions(static_cast<size_t>(state.range(0)));
  const std::vector<Question> questions = regions.Questions();
  size_t next = 0;
  for (auto _ : state) {
    ask(regions.registry(), questions[next]);
    next = (next + 1) % kQuestions;
  }
  state.SetItemsProcessed(state.iterations());
}

void BM_Baseline_TrustsItsHandle(benchmark::State& state) {
  std::vector<std::byte*> bases;
  const auto count = static_cast<size_t>(state.range(0));
  Regions regions(count);
  for (size_t i = 0; i < count; ++i) bases.push_back(regions.base(i));
  const std::vector<Question> questions = regions.Questions();
  size_t next = 0;
  for (auto _ : state) {
    const Question& question = questions[next];
    benchmark::DoNotOptimize(question.data - bases[question.region.slot()]);
    next = (next + 1) % kQuestions;
  }
  state.SetItemsProcessed(state.iterations());
}

void BM_Registry_IsCurrent(benchmark::State& state) {
  AskAll(state, [](FixedBufferRegistry& registry, const Question& question) {
    benchmark::DoNotOptimize(registry.IsCurrent(question.region));
  });
}

void BM_Registry_Check(benchmark::State& state) {
  AskAll(state, [](FixedBufferRegistry& registry, const Question& question) {
    Keep(registry.Check(question.region, question.data, kPageBytes));
  });
}

void BM_Registry_Validate(benchmark::State& state) {
  AskAll(state, [](FixedBufferRegistry& registry, const Question& question) {
    benchmark::DoNotOptimize(registry.Validate(question.region, question.data, kPageBytes));
  });
}

// With the end of the lease, so two atomic additions.
void BM_Registry_TryLease(benchmark::State& state) {
  AskAll(state, [](FixedBufferRegistry& registry, const Question& question) {
    RegionLease lease;
    Keep(registry.TryLease(question.region, question.data, kPageBytes, lease));
  });
}

// A refusal, without and with its sentence.
void BM_Registry_CheckOfStaleId(benchmark::State& state) {
  AskAll(state, [](FixedBufferRegistry& registry, const Question& question) {
    const RegionId stale = RegionId::FromParts(question.region.slot(), question.region.owner(),
                                               question.region.generation() - 1);
    Keep(registry.Check(stale, question.data, kPageBytes));
  });
}

void BM_Registry_ValidateOutOfRegion(benchmark::State& state) {
  AskAll(state, [](FixedBufferRegistry& registry, const Question& question) {
    benchmark::DoNotOptimize(registry.Validate(question.region, question.data, kRegionBytes + 512));
  });
}

// Threads that lease pages of one and the same region, as the threads of a small cache do.
std::unique_ptr<Regions> shared_regions;

void StartSharing(const benchmark::State&) { shared_regions = std::make_unique<Regions>(1); }
void StopSharing(const benchmark::State&) { shared_regions.reset(); }

void BM_Registry_TryLeaseOfOneRegion(benchmark::State& state) {
  const std::vector<Question> questions = shared_regions->Questions();
  size_t next = 0;
  for (auto _ : state) {
    RegionLease lease;
    const Question& question = questions[next];
    Keep(shared_regions->registry().TryLease(question.region, question.data, kPageBytes, lease));
    next = (next + 1) % kQuestions;
  }
  state.SetItemsProcessed(state.iterations());
}

BENCHMARK(BM_Baseline_TrustsItsHandle)->ArgName("regions")->Arg(1)->Arg(1000);
BENCHMARK(BM_Registry_IsCurrent)->ArgName("regions")->Arg(1)->Arg(1000);
BENCHMARK(BM_Registry_Check)->ArgName("regions")->Arg(1)->Arg(1000);
BENCHMARK(BM_Registry_Validate)->ArgName("regions")->Arg(1)->Arg(1000);
BENCHMARK(BM_Registry_TryLease)->ArgName("regions")->Arg(1)->Arg(1000);
BENCHMARK(BM_Registry_CheckOfStaleId)->ArgName("regions")->Arg(1);
BENCHMARK(BM_Registry_ValidateOutOfRegion)->ArgName("regions")->Arg(1);
BENCHMARK(BM_Registry_TryLeaseOfOneRegion)
    ->Setup(StartSharing)
    ->Teardown(StopSharing)
    ->ThreadRange(1, 2)
    ->UseRealTime();

}  // namespace
}  // namespace fixpool::io
