#include "tests/simulation/run_report.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace fixpool::simulation {
namespace {

template <typename Kind, size_t kSize>
void AppendTable(std::string& text, const char* title, const std::array<uint64_t, kSize>& counts) {
  absl::StrAppend(&text, title, "\n");
  for (size_t i = 0; i < kSize; ++i) {
    const Kind kind = static_cast<Kind>(i);
    absl::StrAppendFormat(&text, "  %12d  %s\n", counts[i], NameOf(kind));
  }
}

template <typename Kind, size_t kSize>
void AppendZeros(std::vector<std::string>& lines, const std::array<uint64_t, kSize>& counts) {
  for (size_t i = 0; i < kSize; ++i) {
    const Kind kind = static_cast<Kind>(i);
    if (counts[i] == 0) lines.emplace_back(NameOf(kind));
  }
}

}  // namespace

void RunReport::Add(const SeedResult& result) {
  ++(result.failed ? failed_ : passed_);
  counts_.Add(result.counts);
}

std::string RunReport::Table(absl::Duration elapsed, uint32_t jobs) const {
  std::string text;
  AppendTable<Action>(text, "asked of the cache", counts_.actions);
  AppendTable<Event>(text, "what it did", counts_.events);
  AppendTable<Fault>(text, "faults", counts_.faults);
  AppendTable<Invariant>(text, "checks that held", counts_.invariants);
  const double minutes = std::max(absl::ToDoubleMinutes(elapsed), 1e-9);
  const double rate = static_cast<double>(counts_.steps) / minutes;
  absl::StrAppendFormat(&text,
                        "%d steps of %d seeds in %.1f s: %.2f million a minute, %.2f with each of "
                        "%d processes\n",
                        counts_.steps, passed_ + failed_, absl::ToDoubleSeconds(elapsed),
                        rate / 1e6, rate / jobs / 1e6, jobs);
  return text;
}

std::vector<std::string> RunReport::NeverHappened() const {
  std::vector<std::string> lines;
  AppendZeros<Action>(lines, counts_.actions);
  AppendZeros<Event>(lines, counts_.events);
  AppendZeros<Fault>(lines, counts_.faults);
  AppendZeros<Invariant>(lines, counts_.invariants);
  return lines;
}

std::string ReplayCommand(const SeedPlan& plan) {
  return absl::StrCat("./run simulate --first_seed=", plan.seed, " --seeds=1 --steps=", plan.steps);
}

}  // namespace fixpool::simulation
