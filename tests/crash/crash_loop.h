#ifndef FIXPOOL_TESTS_CRASH_CRASH_LOOP_H_
#define FIXPOOL_TESTS_CRASH_CRASH_LOOP_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tests/crash/child_program.h"
#include "tests/crash/dice.h"
#include "tests/crash/fault_counts.h"
#include "tests/crash/work_directory.h"

namespace fixpool::tests {

// Rounds in which a writer works on the crash file system, one or both of them are killed, and
// another writer looks at what is left.
//
//   auto loop = CrashLoop::Create({.seed = 7});
//   if (!loop.ok()) Skip(loop.status());
//   CrashLoop::Result result = (*loop)->RunRound(0);
//
// Round `n` of a seed makes the same choices each time, whatever was before it. What the kernel
// does meanwhile is its own affair: most failures come back within a few tries, not all in the
// first. Ownership: programs, mounts and files end with it. Thread-compatible, and the thread that
// made it must outlive it.
class CrashLoop {
 public:
  struct Options {
    uint64_t seed = 1;
    // Where crash_file_system and crash_writer are. Default: where this program is, or where Bazel
    // has put a test's data.
    std::string programs = {};
    // Where the work directory is made. Default: $TEST_TMPDIR, $TMPDIR or /tmp.
    std::string parent = {};
    // Ways to be wrong that must be noticed.
    bool lie_about_sync = false;
    bool page_images = true;
    std::string mutation = {};
    // Set by a signal handler: the round ends as soon as it can.
    const std::atomic<bool>* interrupted = nullptr;
  };
  enum class Outcome {
    kPassed,
    kLost,    // something was lost, or is there that should not be
    kBroken,  // the round could not be done: a program hangs, or ends otherwise than it should
    kInterrupted,
  };
  struct Result {
    Outcome outcome = Outcome::kPassed;
    std::string what = {};  // for people
  };
  // Of all rounds so far.
  struct Totals {
    uint64_t acknowledged = 0;
    uint64_t replayed = 0;
    uint64_t torn_pages = 0;    // found by the first recovery after a crash
    uint64_t daemon_kills = 0;  // the daemon alone
    uint64_t writer_kills = 0;  // the writer alone
    uint64_t both_kills = 0;
    uint64_t recovery_kills = 0;    // the daemon, while the writer was starting
    uint64_t stopped_by_fault = 0;  // writers that ended because of an injected fault
    uint64_t verified = 0;
  };

  // Unavailable: there can be no FUSE here; the message says why.
  static absl::StatusOr<std::unique_ptr<CrashLoop>> Create(Options options);
  CrashLoop(const CrashLoop&) = delete;
  CrashLoop& operator=(const CrashLoop&) = delete;

  Result RunRound(uint64_t number);
  const Totals& totals() const { return totals_; }
  const FaultCounts& faults() const { return *faults_; }

 private:
  enum class Victim { kDaemon, kWriter, kBoth };
  // One life of a writer, and its end.
  struct Plan {
    Victim victim = Victim::kDaemon;
    uint64_t acknowledgements = 0;  // before that
    uint64_t delay_us = 0;          // after the last of them
    bool in_recovery = false;       // or after the writer's start, whatever it has got to
    bool faults = false;
    std::string fault_prefix;  // of the names of files that have them
  };
  // What a writer has said.
  struct Heard {
    uint64_t acknowledged = 0;
    bool recovered = false;
    bool verified = false;
  };

  explicit CrashLoop(Options options) : options_(std::move(options)) {}
  Plan MakePlan(Dice& dice, bool faults) const;
  absl::Status RunRoundOnce(uint64_t number);
  absl::Status Live(const Plan& plan, Dice& dice);
  absl::Status Die(const Plan& plan, ChildProgram& writer, ChildProgram& daemon);
  absl::Status Verify(Dice& dice);
  absl::StatusOr<ChildProgram> StartDaemon(const Plan& plan, Dice& dice);
  absl::StatusOr<ChildProgram> StartWriter(Dice& dice, bool verify);
  absl::Status Listen(ChildProgram& writer, const Plan& plan, Heard* heard);
  absl::Status Hear(const std::string& line, bool count, Heard* heard);
  absl::Status EndOfWriter(ChildProgram& writer, const Plan& plan, bool ended);
  absl::Status UnmountInGoodOrder(ChildProgram& daemon);

  const Options options_;
  std::unique_ptr<WorkDirectory> work_;
  std::unique_ptr<FaultCounts> faults_;
  Totals totals_;

  // Of the round.
  uint64_t round_seed_ = 0;
  uint64_t promised_ = 0;  // transactions that must be there
};

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_CRASH_CRASH_LOOP_H_
