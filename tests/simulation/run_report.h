#ifndef FIXPOOL_TESTS_SIMULATION_RUN_REPORT_H_
#define FIXPOOL_TESTS_SIMULATION_RUN_REPORT_H_

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tests/simulation/seed_runner.h"
#include "tests/simulation/sim_counts.h"

namespace fixpool::simulation {

// What many seeds came to, for people.
//
//   report.Add(result);
//   std::puts(report.Table().c_str());
class RunReport {
 public:
  void Add(const SeedResult& result);

  uint64_t passed() const { return passed_; }
  uint64_t failed() const { return failed_; }
  const SimCounts& counts() const { return counts_; }

  // All counts, and how fast it went.
  std::string Table(absl::Duration elapsed, uint32_t jobs) const;
  // What never was, one a line: a run shows nothing about that.
  std::vector<std::string> NeverHappened() const;

 private:
  uint64_t passed_ = 0;
  uint64_t failed_ = 0;
  SimCounts counts_;
};

// How to have the seed again.
std::string ReplayCommand(const SeedPlan& plan);

}  // namespace fixpool::simulation

#endif  // FIXPOOL_TESTS_SIMULATION_RUN_REPORT_H_
