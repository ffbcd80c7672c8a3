// A few of the lives that `./run simulate` runs thousands of: so that every change is tried on
// them, under sanitizers too.

#include "tests/simulation/simulation.h"

#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "tests/simulation/run_report.h"
#include "tests/simulation/seed_runner.h"

namespace fixpool::simulation {
namespace {

std::vector<SeedPlan> Plans(uint64_t first, uint64_t count, uint64_t steps) {
  std::vector<SeedPlan> plans;
  for (uint64_t i = 0; i < count; ++i) plans.push_back({.seed = first + i, .steps = steps});
  return plans;
}

TEST(SimulationTest, EverythingHoldsWhateverHappens) {
  RunReport report;
  SeedRunner({.jobs = 2, .seconds = 600})
      .Run(Plans(/*first=*/1, /*count=*/200, /*steps=*/1000), [&](const SeedResult& result) {
        report.Add(result);
        EXPECT_FALSE(result.failed)
            << "seed " << result.plan.seed << ": " << std::string(NameOf(result.violated)) << ": "
            << result.message << "\n  " << ReplayCommand(result.plan);
        return true;
      });
  EXPECT_EQ(report.passed(), 200u);
  EXPECT_GE(report.counts().steps, 200'000u);
}

TEST(SimulationTest, ASeedIsTheSameLifeEachTime) {
  const std::vector<SeedPlan> plans = Plans(/*first=*/1000, /*count=*/20, /*steps=*/600);
  std::vector<uint64_t> hashes(plans.size());
  const SeedRunner::Taker first = [&](const SeedResult& result) {
    hashes[result.plan.seed - 1000] = result.hash;
    return true;
  };
  const SeedRunner::Taker second = [&](const SeedResult& result) {
    EXPECT_EQ(hashes[result.plan.seed - 1000], result.hash) << "seed " << result.plan.seed;
    return true;
  };
  SeedRunner runner({.jobs = 1, .seconds = 600});
  runner.Run(plans, first);
  runner.Run(plans, second);
  for (size_t i = 1; i < hashes.size(); ++i) EXPECT_NE(hashes[i], hashes[i - 1]);
}

TEST(SimulationTest, AProcessThatDiesIsAFailureWithItsLastWords) {
  // Far more steps than a second has room for.
  SeedRunner runner({.jobs = 1, .seconds = 1});
  runner.Run(Plans(/*first=*/1, /*count=*/1, /*steps=*/uint64_t{1} << 40),
             [](const SeedResult& result) {
               EXPECT_TRUE(result.failed);
               EXPECT_EQ(result.violated, Invariant::kNoCheckFails);
               EXPECT_NE(result.message.find("did not end within 1 s"), std::string::npos)
                   << result.message;
               return true;
             });
}

}  // namespace
}  // namespace fixpool::simulation
