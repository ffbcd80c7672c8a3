#ifndef FIXPOOL_TESTS_SIMULATION_SIM_ENVIRONMENT_H_
#define FIXPOOL_TESTS_SIMULATION_SIM_ENVIRONMENT_H_

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "fixpool/io/check.h"
#include "fixpool/io/environment.h"
#include "tests/simulation/sim_random.h"
#include "tests/simulation/verdict.h"

namespace fixpool::simulation {

// A world with one thread, whose clock moves only while that thread waits: to the next thing that
// happens, at once.
//
// A wait that nobody could end, and a million of them in one step, are CHECKs: nothing would ever
// go on. Some waits end early, for no reason, as Environment::Wait may.
class SimEnvironment final : public io::Environment {
 public:
  SimEnvironment(SimRandom* random, Verdict* verdict) : random_(random), verdict_(verdict) {}

  int64_t NowNs() override { return now_ns_; }
  void Wait(const std::atomic<uint32_t>& word, uint32_t expected, io::Deadline deadline) override {
    if (word.load() != expected) return;
    FIXPOOL_CHECK(!deadline.is_infinite(), "the only thread waits for ever");
    if (deadline.ns() <= now_ns_) return CountWait();
    if (random_->Chance(30)) {
      verdict_->counts().Add(Fault::kEarlyWake);
      return AdvanceTo(now_ns_ + (deadline.ns() - now_ns_ + 1) / 2);
    }
    AdvanceTo(deadline.ns());
  }
  void Wake(const std::atomic<uint32_t>&) override {}
  uint64_t Random() override { return random_->Next(); }
  void Report(io::Severity severity, absl::string_view) override {
    if (severity != io::Severity::kInfo) ++verdict_->counts().warnings;
    verdict_->Note(static_cast<uint64_t>(severity));
  }

  void AdvanceTo(int64_t now_ns) {
    CountWait();
    now_ns_ = std::max(now_ns_, now_ns);
  }
  // A new step: what waited so far came to an end.
  void BeginStep() { waits_ = 0; }

 private:
  static constexpr uint64_t kTooManyWaits = 1'000'000;

  void CountWait() { FIXPOOL_CHECK(++waits_ < kTooManyWaits, "the only thread waits in vain"); }

  SimRandom* const random_;
  Verdict* const verdict_;
  int64_t now_ns_ = 1'000'000'000;
  uint64_t waits_ = 0;
};

}  // namespace fixpool::simulation

#endif  // FIXPOOL_TESTS_SIMULATION_SIM_ENVIRONMENT_H_
