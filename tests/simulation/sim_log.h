#ifndef FIXPOOL_TESTS_SIMULATION_SIM_LOG_H_
#define FIXPOOL_TESTS_SIMULATION_SIM_LOG_H_

#include <algorithm>
#include <cstdint>

#include "absl/status/status.h"
#include "fixpool/storage/lsn.h"
#include "fixpool/storage/write_ahead_log.h"
#include "tests/simulation/sim_random.h"

namespace fixpool::simulation {

// A write-ahead log of numbers: each record is its LSN. Some calls fail, some make more durable
// than they were asked for. What is not durable is gone after a crash. Thread-compatible.
class SimLog final : public storage::WriteAheadLog {
 public:
  // `error`: times in 1000 that it cannot be made durable.
  SimLog(SimRandom* random, uint32_t error) : random_(random), error_(error) {}

  storage::Lsn Append() { return storage::Lsn{++last_}; }
  storage::Lsn durable() const { return storage::Lsn{durable_}; }
  void BeKind() { error_ = 0; }
  void Crash() { last_ = durable_; }

  absl::Status EnsureDurable(storage::Lsn lsn) override {
    if (random_->Chance(error_)) return absl::UnavailableError("simulated log");
    const uint64_t wanted = std::min(ToInt(lsn), last_);
    durable_ = std::max(durable_, random_->Chance(500) ? last_ : wanted);
    return absl::OkStatus();
  }
  storage::Lsn NextLsn() override { return storage::Lsn{last_ + 1}; }

 private:
  SimRandom* const random_;
  uint32_t error_;
  uint64_t last_ = 0;
  uint64_t durable_ = 0;
};

}  // namespace fixpool::simulation

#endif  // FIXPOOL_TESTS_SIMULATION_SIM_LOG_H_
