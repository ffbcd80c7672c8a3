// libFuzzer's entry: any bytes are the decisions of a simulated life of a cache.
//
//   ./run fuzz --seconds=60 //tests/simulation:cache_fuzzer

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>

#include "tests/simulation/sim_counts.h"
#include "tests/simulation/sim_random.h"
#include "tests/simulation/simulation.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using fixpool::simulation::SimRandom;
  using fixpool::simulation::Simulation;
  constexpr uint64_t kMostSteps = 4000;
  Simulation simulation(SimRandom(std::span(data, size)), /*seed=*/1, kMostSteps);
  simulation.Run();
  const fixpool::simulation::Verdict& verdict = simulation.verdict();
  if (verdict.failed()) {
    std::fprintf(stderr, "not true: %s\n%s\n", std::string(NameOf(verdict.violated())).c_str(),
                 verdict.message().c_str());
    std::abort();
  }
  return 0;
}
