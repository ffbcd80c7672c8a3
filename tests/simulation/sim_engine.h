#ifndef FIXPOOL_TESTS_SIMULATION_SIM_ENGINE_H_
#define FIXPOOL_TESTS_SIMULATION_SIM_ENGINE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/file.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"
#include "tests/simulation/sim_disk.h"
#include "tests/simulation/sim_environment.h"
#include "tests/simulation/sim_file.h"
#include "tests/simulation/sim_options.h"
#include "tests/simulation/verdict.h"

namespace fixpool::simulation {

// One transfer, or sync, that a SimEngine has accepted.
struct SimTransfer {
  uint64_t number = 0;  // in the order of submission
  io::IoRequest request;
  absl::InlinedVector<io::IoPiece, 2> pieces;  // one, if it is not joined; of a sync none
  absl::InlinedVector<io::RegionLease, 2> leases;
  std::shared_ptr<io::File> file;
  SimFileImage* image = nullptr;
  int64_t end_ns = 0;
  bool lost = false;  // the power went off meanwhile: nothing happens on the disk any more
};

// Hears of all transfers, before anybody else does.
class TransferObserver {
 public:
  virtual ~TransferObserver() = default;
  virtual void OnSubmitted(const SimTransfer& transfer) = 0;
  // Right before its completion is reaped.
  virtual void OnEnded(const SimTransfer& transfer, const io::IoCompletion& completion) = 0;
  // The disk has not, or not what it should have, of pages that it said it has written; or what it
  // is about to say of a page is not what it has.
  virtual void OnDamaged(const SimFileImage& image, uint64_t page) = 0;
  virtual void OnFlipped(const SimFileImage& image, uint64_t page) = 0;
  // Time is about to pass until some transfer has ended: somebody waits for it.
  virtual void OnWait() = 0;
  // From now on nothing becomes durable.
  virtual void OnPowerOff() = 0;
};

// An IoEngine whose device is a SimDisk, and about which the seed decides everything that a real
// one may do: in which order transfers end and when, which of them fail and how, how many are taken
// at a time, and what is on the disk when the power goes off.
//
//   SimEngine engine(registry, &environment, &observer, &random, &verdict, options);
//   engine.PowerOffAfter(7);      // transfers begun or ended
//   ... until engine.off(), then destroy the cache, and SimDisk::Crash() ...
//
// A transfer is done at the moment that it ends; until then a read's memory is scribbled over, and
// so it is behind a short one. Regions are validated and leased as by the real engines. A real
// engine resumes short transfers by itself, so that what its user meets are ends of files and
// errors, and of a write that failed a part may be on the disk.
// Time passes in Reap, up to the end of a transfer or the deadline.
class SimEngine final : public io::IoEngine {
 public:
  SimEngine(io::FixedBufferRegistry* registry, SimEnvironment* environment,
            TransferObserver* observer, SimRandom* random, Verdict* verdict,
            const SimOptions& options);
  ~SimEngine() override;

  // From now on every transfer fails, and nothing reaches the disk but, of writes in flight, some
  // sectors.
  void PowerOff();
  void PowerOffAfter(uint64_t events) { events_to_go_ = events; }
  bool off() const { return off_; }
  // No more faults.
  void BeKind() { rates_ = FaultRates(); }
  // When the next transfer ends; INT64_MAX if none is in flight.
  int64_t NextEndNs() const;
  uint64_t errors() const { return errors_; }
  absl::Span<const std::unique_ptr<SimTransfer>> transfers() const { return transfers_; }

  absl::StatusOr<io::FileHandle> AddFile(std::shared_ptr<io::File> file) override;
  absl::Status RemoveFile(io::FileHandle file, io::Deadline deadline) override;
  absl::StatusOr<io::EngineLevel> LevelOf(io::FileHandle file) const override;
  io::SubmitResult Submit(absl::Span<const io::IoRequest> requests) override;
  size_t Reap(absl::Span<io::IoCompletion> completions, io::Deadline deadline) override {
    return ReapSeveral(completions, deadline, 1);
  }
  size_t ReapSeveral(absl::Span<io::IoCompletion> completions, io::Deadline deadline,
                     size_t wanted) override;
  uint32_t depth() const override { return depth_; }
  uint32_t joined_depth() const override { return options_.joined_depth; }
  uint32_t in_flight() const override { return static_cast<uint32_t>(transfers_.size()); }
  io::EngineReport Report() const override;

 private:
  absl::Status Accept(const io::IoRequest& request);
  int64_t DelayNs(const io::IoRequest& request);
  size_t TakeEnded(absl::Span<io::IoCompletion> completions);
  void Perform(SimTransfer& transfer, io::IoCompletion& completion);
  void Read(SimTransfer& transfer, io::IoCompletion& completion);
  void Write(SimTransfer& transfer, io::IoCompletion& completion);
  void Sync(SimTransfer& transfer, io::IoCompletion& completion);
  absl::Status Failure(const SimTransfer& transfer, uint32_t rate, Fault fault);
  void TellOfDamage(const SimTransfer& transfer, uint64_t offset_bytes);
  void CountEvent();

  io::FixedBufferRegistry* const registry_;
  SimEnvironment* const environment_;
  TransferObserver* const observer_;
  SimRandom* const random_;
  Verdict* const verdict_;
  const SimOptions options_;
  FaultRates rates_;
  uint32_t depth_;
  bool off_ = false;
  uint64_t events_to_go_ = 0;  // 0: the power stays on
  uint64_t errors_ = 0;        // that were told of
  uint64_t last_number_ = 0;
  uint32_t joined_in_flight_ = 0;
  uint32_t last_generation_ = 0;
  std::map<uint32_t, std::shared_ptr<io::File>> files_;  // by generation
  std::vector<std::unique_ptr<SimTransfer>> transfers_;  // as submitted
  std::vector<std::unique_ptr<SimTransfer>> spare_;
};

}  // namespace fixpool::simulation

#endif  // FIXPOOL_TESTS_SIMULATION_SIM_ENGINE_H_
