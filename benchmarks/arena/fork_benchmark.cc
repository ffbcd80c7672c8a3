// What a large arena costs a program that forks.
//
// Children do not get its memory (MADV_DONTFORK), so that they are as cheap as without. The
// goal: less than 5 ms for fork, exit and wait beside 8 GiB of registered pages.

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "benchmark/benchmark.h"
#include "benchmarks/support/arena_memory.h"
#include "benchmarks/support/not_here.h"
#include "fixpool/arena/page_arena.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/open_engine.h"

namespace fixpool::benchmarks {
namespace {

// False, with an error in `state`, if it went wrong.
bool ForkExitWait(benchmark::State& state) {
  const pid_t child = fork();
  if (child == 0) _exit(0);
  if (child > 0 && waitpid(child, nullptr, 0) == child) return true;
  state.SkipWithError(std::strerror(errno));
  return false;
}

void BM_Baseline_ForkWithoutArena(benchmark::State& state) {
  for (auto _ : state) {
    if (!ForkExitWait(state)) return;
  }
}

void BM_PageArena_ForkBesideArena(benchmark::State& state) {
  const auto registry = *io::FixedBufferRegistry::Create({});
  const auto engine = io::OpenEngine(registry.get());  // so that the pages are pinned
  if (!engine.ok()) return SkipNotHere(state, engine.status().ToString());
  const auto arena = arena::PageArena::Create(registry.get(), {.size_bytes = ArenaBytes()});
  if (!arena.ok()) return SkipNotHere(state, arena.status().ToString());
  for (auto _ : state) {
    if (!ForkExitWait(state)) return;
  }
  state.SetLabel(DescribeMemory(ArenaBytes(), (*arena)->Report().regions.back().mapping.got));
}

BENCHMARK(BM_Baseline_ForkWithoutArena)->Unit(benchmark::kMicrosecond)->UseRealTime();
BENCHMARK(BM_PageArena_ForkBesideArena)->Unit(benchmark::kMicrosecond)->UseRealTime();

}  // namespace
}  // namespace fixpool::benchmarks
