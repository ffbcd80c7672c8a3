#ifndef FIXPOOL_TESTS_SIMULATION_SIM_LOG_H_
#define FIXPOOL_TESTS_SIMULATION_SIM_LOG_H_

#include <algorithm>
#include <cstdint>

#include "absl/status/status.h"
#include "fixpool/storage/lsn.h"
#include "fixpool/storage/write_ahead_log.h"
#include "tests/simulation/sim_environment.h"
#include "tests/simulation/sim_random.h"
#include "tests/simulation/verdict.h"

namespace fixpool::simulation {

// Hears of calls of the log, while they last.
class LogObserver {
 public:
  virtual ~LogObserver() = default;
  virtual void OnLogCalled() = 0;
};

// A write-ahead log of numbers: each record is its LSN; what they tell of, RecoveryModel knows.
// Some calls fail, some take their time, some make more durable than they were asked for, and
// others of its users have it made durable whenever they like. What is not durable is gone after a
// crash. Thread-compatible.
class SimLog final : public storage::WriteAheadLog {
 public:
  // `error`: times in 1000 that it cannot be made durable; `slow`: that it takes long.
  SimLog(SimEnvironment* environment, LogObserver* observer, SimRandom* random, Verdict* verdict,
         uint32_t error, uint32_t slow)
      : environment_(environment),
        observer_(observer),
        random_(random),
        verdict_(verdict),
        error_(error),
        slow_(slow) {}

  storage::Lsn Append() {
    ++last_;
    if (random_->Chance(20)) Commit();
    return storage::Lsn{last_};
  }
  // Somebody needs all of it to be durable.
  void Commit() {
    if (!off_) durable_ = last_;
  }
  storage::Lsn durable() const { return storage::Lsn{durable_}; }
  storage::Lsn end() const { return storage::Lsn{last_ + 1}; }
  uint64_t errors() const { return errors_; }
  void BeKind() { error_ = slow_ = 0; }
  // Nothing becomes durable any more, until the crash is over.
  void PowerOff() { off_ = true; }
  void Crash() {
    last_ = durable_;
    off_ = false;
  }

  absl::Status EnsureDurable(storage::Lsn lsn) override {
    if (!verdict_->Check(Invariant::kLogFirst, ToInt(lsn) <= last_)) {
      verdict_->Fail(Invariant::kLogFirst, "the log is asked for a record that it does not have");
    }
    observer_->OnLogCalled();
    if (random_->Chance(300)) {
      environment_->AdvanceTo(environment_->NowNs() +
                              static_cast<int64_t>(random_->Below(1'000'000)));
    }
    if (random_->Chance(slow_)) {
      verdict_->counts().Add(Fault::kSlowLog);
      environment_->AdvanceTo(environment_->NowNs() +
                              static_cast<int64_t>(random_->Below(100'000'000)));
    }
    if (off_ || random_->Chance(error_)) {
      if (!off_) verdict_->counts().Add(Fault::kLogError);
      ++errors_;
      return absl::UnavailableError("simulated log");
    }
    durable_ = std::max(durable_, random_->Chance(500) ? last_ : ToInt(lsn));
    return absl::OkStatus();
  }
  storage::Lsn NextLsn() override { return end(); }

 private:
  SimEnvironment* const environment_;
  LogObserver* const observer_;
  SimRandom* const random_;
  Verdict* const verdict_;
  uint32_t error_;
  uint32_t slow_;
  bool off_ = false;
  uint64_t last_ = 0;
  uint64_t durable_ = 0;
  uint64_t errors_ = 0;
};

}  // namespace fixpool::simulation

#endif  // FIXPOOL_TESTS_SIMULATION_SIM_LOG_H_
