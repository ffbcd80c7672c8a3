// Many simulated lives of a cache. `./run simulate` builds and runs it; docs/simulation.md tells
// what it is about.
//
//   simulate --seeds=10000 --first_seed=1 --steps=1000 --jobs=2 --regressions=FILE
//   simulate --mutations

#include <sys/personality.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "fixpool/storage/mutation.h"
#include "tests/simulation/mutation_check.h"
#include "tests/simulation/run_report.h"
#include "tests/simulation/seed_runner.h"

namespace fixpool::simulation {
namespace {

struct Flags {
  uint64_t seeds = 1000;
  uint64_t first_seed = 1;
  uint64_t steps = 1000;
  uint64_t jobs = std::max(1u, std::thread::hardware_concurrency());
  std::string regressions;
  std::string only;  // of the mutations, one
  bool mutations = false;
  bool hashes = false;
};

bool TakeNumber(absl::string_view argument, absl::string_view name, uint64_t& value) {
  return absl::ConsumePrefix(&argument, name) && absl::SimpleAtoi(argument, &value);
}

bool TakeText(absl::string_view argument, absl::string_view name, std::string& value) {
  if (!absl::ConsumePrefix(&argument, name)) return false;
  value = std::string(argument);
  return true;
}

std::optional<Flags> ReadFlags(int argc, char** argv) {
  Flags flags;
  for (int i = 1; i < argc; ++i) {
    const absl::string_view argument = argv[i];
    if (TakeNumber(argument, "--seeds=", flags.seeds)) continue;
    if (TakeNumber(argument, "--first_seed=", flags.first_seed)) continue;
    if (TakeNumber(argument, "--steps=", flags.steps)) continue;
    if (TakeNumber(argument, "--jobs=", flags.jobs) && flags.jobs > 0) continue;
    if (TakeText(argument, "--regressions=", flags.regressions)) continue;
    if (TakeText(argument, "--mutation=", flags.only)) continue;
    flags.mutations |= argument == "--mutations";
    flags.hashes |= argument == "--hashes";
    if (argument == "--mutations" || argument == "--hashes") continue;
    std::fprintf(stderr, "simulate: what is %s?\n", argv[i]);
    return std::nullopt;
  }
  if (!flags.only.empty()) flags.mutations = true;
  return flags;
}

// Lines of "SEED STEPS"; # begins a comment.
std::vector<SeedPlan> ReadRegressions(const std::string& path) {
  std::vector<SeedPlan> plans;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    SeedPlan plan;
    if (words >> plan.seed >> plan.steps) plans.push_back(plan);
  }
  return plans;
}

class Progress {
 public:
  explicit Progress(uint64_t seeds) : seeds_(seeds) {}

  void Tell(const RunReport& report) {
    const absl::Time now = absl::Now();
    if (now - last_ < (terminal_ ? absl::Milliseconds(200) : absl::Seconds(10))) return;
    last_ = now;
    std::fprintf(
        stderr, "%s%llu of %llu seeds, %llu failed, %.1f million steps%s", terminal_ ? "\r" : "",
        static_cast<unsigned long long>(report.passed() + report.failed()),
        static_cast<unsigned long long>(seeds_), static_cast<unsigned long long>(report.failed()),
        static_cast<double>(report.counts().steps) / 1e6, terminal_ ? "   " : "\n");
    said_ = terminal_;
  }
  void End() {
    if (said_) std::fprintf(stderr, "\n");
    said_ = false;
  }

 private:
  const uint64_t seeds_;
  const bool terminal_ = isatty(STDERR_FILENO) != 0;
  bool said_ = false;
  absl::Time last_ = absl::Now();
};

int RunSeeds(const Flags& flags) {
  std::vector<SeedPlan> regressions = ReadRegressions(flags.regressions);
  const uint64_t all = regressions.size() + flags.seeds;
  uint64_t at = 0;
  RunReport report;
  Progress progress(all);
  SeedRunner runner({.jobs = static_cast<uint32_t>(flags.jobs)});
  const absl::Time begun = absl::Now();
  runner.Run(
      [&](SeedPlan& plan) {
        if (at == all) return false;
        plan = at < regressions.size()
                   ? regressions[at]
                   : SeedPlan{flags.first_seed + at - regressions.size(), flags.steps};
        ++at;
        return true;
      },
      [&](const SeedResult& result) {
        report.Add(result);
        if (result.failed) {
          progress.End();
          std::printf("seed %llu: not true: %s\n  %s\n  again with: %s\n",
                      static_cast<unsigned long long>(result.plan.seed),
                      std::string(NameOf(result.violated)).c_str(), result.message.c_str(),
                      ReplayCommand(result.plan).c_str());
          std::fflush(stdout);
        }
        if (flags.hashes) {
          std::printf("seed %llu hash %016llx\n", static_cast<unsigned long long>(result.plan.seed),
                      static_cast<unsigned long long>(result.hash));
        }
        progress.Tell(report);
        return report.failed() < 20;
      });
  progress.End();
  std::printf("%s", report.Table(absl::Now() - begun, static_cast<uint32_t>(flags.jobs)).c_str());
  bool good = report.failed() == 0;
  // Of one seed that is looked at again, nothing else is expected.
  if (good && flags.seeds >= 500) {
    for (const std::string& line : report.NeverHappened()) {
      std::printf("never happened: %s\n", line.c_str());
      good = false;
    }
  }
  std::printf("%llu passed, %llu failed, 0 skipped\n",
              static_cast<unsigned long long>(report.passed()),
              static_cast<unsigned long long>(report.failed()));
  return good ? 0 : 1;
}

// Where memory comes to lie is part of what happens: which frame has which number, for one.
void HaveTheSameAddressesAlways(char** argv) {
  const int persona = personality(0xffffffff);
  if (persona < 0 || (persona & ADDR_NO_RANDOMIZE) != 0) return;
  if (personality(static_cast<unsigned>(persona) | ADDR_NO_RANDOMIZE) < 0) return;
  execv("/proc/self/exe", argv);
}

}  // namespace
}  // namespace fixpool::simulation

int main(int argc, char** argv) {
  using namespace fixpool::simulation;
  const std::optional<Flags> flags = ReadFlags(argc, argv);
  if (!flags.has_value()) return 2;
  HaveTheSameAddressesAlways(argv);
  if (flags->mutations) {
    return RunMutationCheck({.jobs = static_cast<uint32_t>(flags->jobs), .only = flags->only});
  }
  return RunSeeds(*flags);
}
