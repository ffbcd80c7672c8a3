#ifndef FIXPOOL_TESTS_SIMULATION_SIMULATION_H_
#define FIXPOOL_TESTS_SIMULATION_SIMULATION_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "fixpool/storage/access_options.h"
#include "fixpool/storage/optimistic_guard.h"
#include "fixpool/storage/page_access.h"
#include "fixpool/storage/page_guard.h"
#include "fixpool/storage/page_hint.h"
#include "fixpool/storage/page_id.h"
#include "fixpool/storage/task.h"
#include "tests/simulation/machine.h"
#include "tests/simulation/page_model.h"
#include "tests/simulation/recovery_model.h"
#include "tests/simulation/sim_disk.h"
#include "tests/simulation/sim_engine.h"
#include "tests/simulation/sim_environment.h"
#include "tests/simulation/sim_log.h"
#include "tests/simulation/sim_options.h"
#include "tests/simulation/verdict.h"

namespace fixpool::simulation {

// One simulated life of a cache: it is asked for pages, by several tasks and by calls that block,
// while its disk fails and the power goes off, and after each step everything is compared with what
// must be.
//
//   Simulation simulation(SimRandom(seed), seed, 1000);
//   simulation.Run();
//   if (simulation.verdict().failed()) ...
//
// The real PageCache, PageArena, FixedBufferRegistry and tasks, on one thread; the disk, the engine
// and the clock are simulated. Everything follows from the SimRandom, so that a life can be had
// again. (Ids of files are issued by the process, and the policy's ghosts depend on them, so for
// that it is to be the first in its process: see SeedRunner.)
// Thread-compatible.
class Simulation final : private TransferObserver, private LogObserver {
 public:
  Simulation(SimRandom random, uint64_t seed, uint64_t steps);
  ~Simulation() override;
  Simulation(const Simulation&) = delete;
  Simulation& operator=(const Simulation&) = delete;

  // Until the steps are done, or something is wrong.
  void Run();
  const Verdict& verdict() const { return verdict_; }

 private:
  using Intent = storage::Intent;
  struct Access {
    size_t file;
    storage::PageId page;
    Intent intent;
    storage::AccessOptions options;
    int64_t begun_ns;
  };
  struct Look {
    size_t file;
    storage::OptimisticGuard guard;
    PageTags seen;
  };

  // ---- simulation.cc: how it goes ----
  void Boot();
  void LosePower();
  void CountEvents();
  void CrashAndReboot();
  void Step();
  void Do(Action action);
  void DoToAll(Action action);
  Action ChooseAction();
  void AfterStep(bool outside_of_tasks);
  void CheckSample();
  void WindDown();
  bool LetTasksEnd();

  // ---- transfers.cc: what goes to the disk ----
  void OnSubmitted(const SimTransfer& transfer) override;
  void OnEnded(const SimTransfer& transfer, const io::IoCompletion& completion) override;
  void OnDamaged(const SimFileImage& image, uint64_t page) override;
  void OnFlipped(const SimFileImage& image, uint64_t page) override;
  void OnWait() override;
  void OnPowerOff() override;
  void CheckRead(const SimTransfer& transfer);
  void CheckWrite(const SimTransfer& transfer, size_t file);

  // ---- log.cc: what the log has to do with it ----
  void OnLogCalled() override;
  void LogZeros(HeldPage& page);
  void CheckOldest();
  void Checkpoint();

  // ---- accesses.cc: pages ----
  Access ChooseAccess(Intent intent);
  std::optional<absl::Duration> ChooseTimeout();
  uint64_t ChoosePage(size_t file);
  void OnGranted(const Access& access, bool exclusive, const std::byte* data);
  void OnRefused(const Access& access, const absl::Status& status, bool blocking);
  bool HasCause(const Access& access, const absl::Status& status, bool blocking);
  void CheckMayWait(const absl::Status& status, int64_t begun_ns,
                    std::optional<absl::Duration> timeout, absl::Duration otherwise);
  void Change(HeldPage& page, size_t sectors);
  void Remember(const HeldPage& page);
  HeldPage& NewGuard();
  void BlockingAccess(Intent intent);
  void TryAccess(bool exclusive);
  void TryHint();
  void BeginLook();
  void EndLook();
  void UseGuard(Action action);
  void ReadMany();
  void Prefetch();

  // ---- tasks.cc ----
  storage::Task<absl::Status> Work(storage::TaskScheduler& scheduler);
  storage::Task<absl::Status> AccessInTask(storage::TaskScheduler& scheduler, Intent intent,
                                           HeldPage& page);
  void SpawnTask();
  void AbandonTask();
  void RunTasks();
  void PassTime();

  // ---- files.cc ----
  void Flush();
  void FlushAll();
  void Close(bool discard);
  void Discard(size_t file);
  void Open(size_t file, bool read_only);
  void OpenTwice();
  void UseStale();
  void UseStaleFrame();
  void CheckPageCount();
  void Resize();
  void CheckFileCall(const absl::Status& status, size_t file, int64_t begun_ns,
                     std::optional<absl::Duration> timeout, bool guards_matter);
  void OnClosed(size_t file);
  std::optional<size_t> ChooseOpenFile();

  void Fail(Invariant invariant, std::string message) {
    verdict_.Fail(invariant, std::move(message));
  }
  storage::PageCache& cache() { return *machine_->cache; }
  SimEngine& engine() { return *machine_->engine; }

  SimRandom random_;
  Verdict verdict_;
  const SimOptions options_;
  SimDisk disk_;
  PageModel model_;
  SimEnvironment environment_;
  SimLog log_;
  RecoveryModel recovery_;
  std::array<uint32_t, kKinds<Action>> weights_{};
  std::optional<Machine> machine_;
  std::vector<storage::FileId> stale_files_;
  std::array<storage::PageHint, 8> hints_;
  std::vector<Look> looks_;
  std::vector<storage::CacheInspector::Known> known_;  // scratch
  uint64_t spawned_ = 0;
  bool prefetches_ = false;                 // right now
  std::optional<size_t> opens_;             // right now, which file
  bool made_ = false;                       // the page that was granted last
  std::optional<storage::PageId> reading_;  // right now, by a call that blocks
  bool dying_ = false;                      // the machine is: nobody looks at its transfers
  bool kind_ = false;                       // no more faults: the life is coming to its end
};

}  // namespace fixpool::simulation

#endif  // FIXPOOL_TESTS_SIMULATION_SIMULATION_H_
