#ifndef FIXPOOL_TESTS_SIMULATION_SEED_RUNNER_H_
#define FIXPOOL_TESTS_SIMULATION_SEED_RUNNER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tests/simulation/sim_counts.h"

namespace fixpool::simulation {

// One seed and how long its life is.
struct SeedPlan {
  uint64_t seed = 0;
  uint64_t steps = 1000;
};

// What became of it.
struct SeedResult {
  SeedPlan plan;
  bool failed = false;
  Invariant violated = Invariant::kCount;
  std::string message = {};
  uint64_t hash = 0;
  SimCounts counts = {};
};

// Runs simulated lives, each in a child of its own, several at a time: what is to be had again must
// not depend on what the process did before, and a CHECK that fails ends one seed and not the run.
//
//   SeedRunner runner({.jobs = 2});
//   runner.Run(plans, [](const SeedResult& result) { return !result.failed; });
//
// To be used by a process with one thread.
class SeedRunner {
 public:
  struct Options {
    uint32_t jobs = 1;
    uint32_t seconds = 120;  // that one seed may take: more is taken for a hang
  };
  // The next to run; false: there are no more.
  using PlanSource = std::function<bool(SeedPlan&)>;
  // Results in the order in which they come. False: start no more.
  using Taker = std::function<bool(const SeedResult&)>;

  explicit SeedRunner(Options options) : options_(options) {}
  void Run(const PlanSource& next, const Taker& take);
  void Run(const std::vector<SeedPlan>& plans, const Taker& take);

 private:
  const Options options_;
};

}  // namespace fixpool::simulation

#endif  // FIXPOOL_TESTS_SIMULATION_SEED_RUNNER_H_
