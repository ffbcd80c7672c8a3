// What it costs to ask whether this process is a forked child, as every submission and every
// access to a page does, beside the system call that would answer as well.

#include <unistd.h>

#include "benchmark/benchmark.h"
#include "fixpool/io/fork_guard.h"

namespace fixpool::io {
namespace {

void BM_Baseline_Getpid(benchmark::State& state) {
  const pid_t made_by = getpid();
  for (auto _ : state) benchmark::DoNotOptimize(getpid() != made_by);
}

void BM_ForkGuard_Forked(benchmark::State& state) {
  const ForkGuard guard;
  for (auto _ : state) {
    benchmark::DoNotOptimize(guard.forked());
    benchmark::ClobberMemory();
  }
}

void BM_ForkGuard_Make(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(ForkGuard());
}

BENCHMARK(BM_Baseline_Getpid);
BENCHMARK(BM_ForkGuard_Forked);
BENCHMARK(BM_ForkGuard_Make);

}  // namespace
}  // namespace fixpool::io
