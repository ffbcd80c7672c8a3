#include "tests/crash/crash_loop.h"

#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tests/crash/writer_codes.h"

namespace fixpool::tests {
namespace {

namespace fs = std::filesystem;

// Long after anything that goes well has ended, also under a sanitizer.
constexpr absl::Duration kPatience = absl::Seconds(60);
// Of each kind of transfer, in rounds with faults; and of syncs, which are fewer.
constexpr const char* kFaultRate = "0.002";
constexpr const char* kSyncFaultRate = "0.03";
constexpr int kNoFuse = 77;

std::string Environment(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr ? value : "";
}

std::string ProgramsDirectory() {
  const std::string runfiles = Environment("TEST_SRCDIR");
  if (!runfiles.empty()) {
    return absl::StrCat(runfiles, "/", Environment("TEST_WORKSPACE"), "/tests/crash");
  }
  return fs::read_symlink("/proc/self/exe").parent_path();
}

std::string TemporaryDirectory() {
  for (const char* const name : {"TEST_TMPDIR", "TMPDIR"}) {
    if (std::string path = Environment(name); !path.empty()) return path;
  }
  return "/tmp";
}

absl::Status Lost(absl::string_view what) { return absl::DataLossError(what); }
absl::Status Broken(absl::string_view what) { return absl::InternalError(what); }

}  // namespace

absl::StatusOr<std::unique_ptr<CrashLoop>> CrashLoop::Create(Options options) {
  if (options.programs.empty()) options.programs = ProgramsDirectory();
  if (options.parent.empty()) options.parent = TemporaryDirectory();
  std::unique_ptr<CrashLoop> loop(new CrashLoop(std::move(options)));
  absl::StatusOr<std::unique_ptr<WorkDirectory>> work =
      WorkDirectory::Create(loop->options_.parent);
  if (!work.ok()) return work.status();
  loop->work_ = *std::move(work);
  loop->faults_ = FaultCounts::Open(loop->work_->path() + "/counts");
  if (loop->faults_ == nullptr) return Broken("no file for the counts of faults");
  // A mount that nothing comes of, to see whether there can be one.
  if (absl::StatusOr<std::string> made = loop->work_->Empty("backing"); !made.ok()) {
    return made.status();
  }
  Dice dice(0);
  absl::StatusOr<ChildProgram> daemon = loop->StartDaemon(Plan(), dice);
  if (!daemon.ok()) return daemon.status();
  daemon->Kill();
  loop->work_->Detach();
  return loop;
}

CrashLoop::Result CrashLoop::RunRound(uint64_t number) {
  absl::Status status = RunRoundOnce(number);
  work_->Detach();
  if (status.ok()) return {.outcome = Outcome::kPassed, .what = ""};
  const Outcome outcome = absl::IsDataLoss(status)  ? Outcome::kLost
                          : absl::IsAborted(status) ? Outcome::kInterrupted
                                                    : Outcome::kBroken;
  return {.outcome = outcome, .what = std::string(status.message())};
}

absl::Status CrashLoop::RunRoundOnce(uint64_t number) {
  Dice dice(Dice::Mix(options_.seed, number));
  round_seed_ = dice.Next();
  promised_ = 0;
  const bool faults = dice.Chance(0.5);
  const uint64_t lives = 1 + dice.Below(3);
  if (absl::StatusOr<std::string> made = work_->Empty("backing"); !made.ok()) {
    return made.status();
  }
  for (uint64_t life = 0; life < lives; ++life) {
    if (absl::Status status = Live(MakePlan(dice, faults), dice); !status.ok()) return status;
    if (dice.Chance(0.3)) {
      const Plan again{.delay_us = dice.Below(30'000), .in_recovery = true, .fault_prefix = ""};
      if (absl::Status status = Live(again, dice); !status.ok()) return status;
    }
    if (absl::Status status = Verify(dice); !status.ok()) return status;
  }
  return absl::OkStatus();
}

CrashLoop::Plan CrashLoop::MakePlan(Dice& dice, bool faults) const {
  Plan plan;
  const uint64_t victim = dice.Below(4);
  plan.victim = victim == 0 ? Victim::kWriter : victim == 1 ? Victim::kBoth : Victim::kDaemon;
  plan.acknowledgements = dice.Below(400);
  plan.delay_us = dice.Below(3000);
  plan.in_recovery = dice.Chance(0.1);
  plan.faults = faults;
  // A log that fails ends its writer at once, so mostly it is spared.
  plan.fault_prefix = dice.Chance(0.7) ? "data" : "";
  return plan;
}

absl::StatusOr<ChildProgram> CrashLoop::StartDaemon(const Plan& plan, Dice& dice) {
  std::vector<std::string> arguments = {options_.programs + "/crash_file_system",
                                        absl::StrCat("--backing=", work_->path(), "/backing"),
                                        absl::StrCat("--mount=", work_->mount_point()),
                                        absl::StrCat("--counts=", work_->path(), "/counts"),
                                        absl::StrCat("--seed=", dice.Next())};
  if (plan.faults) {
    arguments.push_back(absl::StrCat("--fault_rate=", kFaultRate));
    arguments.push_back(absl::StrCat("--sync_fault_rate=", kSyncFaultRate));
    arguments.push_back(absl::StrCat("--fault_prefix=", plan.fault_prefix));
  }
  if (options_.lie_about_sync) arguments.push_back("--lie_about_sync");
  absl::StatusOr<ChildProgram> daemon =
      ChildProgram::Start({.arguments = std::move(arguments),
                           .errors = work_->path() + "/daemon.errors",
                           .interrupted = options_.interrupted});
  if (!daemon.ok()) return daemon;
  const absl::StatusOr<std::string> line = daemon->ReadLine(kPatience);
  if (line.ok()) return daemon;
  if (absl::IsAborted(line.status())) return line.status();
  const absl::StatusOr<int> code = daemon->Wait(kPatience);
  const std::string what = absl::StrCat("crash_file_system: ", daemon->Errors());
  if (code.ok() && *code == kNoFuse) return absl::UnavailableError(what);
  return Broken(absl::StrCat(what, " (code ", code.ok() ? *code : -1, ")"));
}

absl::StatusOr<ChildProgram> CrashLoop::StartWriter(Dice& dice, bool verify) {
  std::vector<std::string> arguments = {
      options_.programs + "/crash_writer", absl::StrCat("--directory=", work_->mount_point()),
      absl::StrCat("--seed=", round_seed_), absl::StrCat("--run_seed=", dice.Next())};
  if (verify) arguments.push_back("--verify");
  if (!options_.page_images) arguments.push_back("--no_page_images");
  if (!options_.mutation.empty()) {
    arguments.push_back(absl::StrCat("--mutation=", options_.mutation));
  }
  return ChildProgram::Start({.arguments = std::move(arguments),
                              .errors = work_->path() + "/writer.errors",
                              .interrupted = options_.interrupted});
}

absl::Status CrashLoop::Live(const Plan& plan, Dice& dice) {
  absl::StatusOr<ChildProgram> daemon = StartDaemon(plan, dice);
  if (!daemon.ok()) return daemon.status();
  absl::StatusOr<ChildProgram> writer = StartWriter(dice, /*verify=*/false);
  if (!writer.ok()) return writer.status();
  Heard heard;
  absl::Status status;
  if (!plan.in_recovery) status = Listen(*writer, plan, &heard);
  const bool ended = absl::IsOutOfRange(status);
  if (!status.ok() && !ended) return status;
  absl::SleepFor(absl::Microseconds(plan.delay_us));
  if (status = Die(plan, *writer, *daemon); !status.ok()) return status;
  // What it had said before that, or says because it is alive still.
  Plan to_the_end = plan;
  to_the_end.acknowledgements = UINT64_MAX;
  const absl::Status rest = Listen(*writer, to_the_end, &heard);
  if (!absl::IsOutOfRange(rest)) return rest;
  promised_ = std::max(promised_, heard.acknowledged);
  if (status = EndOfWriter(*writer, plan, ended); !status.ok()) return status;
  if (plan.victim == Victim::kWriter) return UnmountInGoodOrder(*daemon);
  work_->Detach();
  return absl::OkStatus();
}

absl::Status CrashLoop::Die(const Plan& plan, ChildProgram& writer, ChildProgram& daemon) {
  if (plan.in_recovery) ++totals_.recovery_kills;
  switch (plan.victim) {
    case Victim::kDaemon:
      if (!plan.in_recovery) ++totals_.daemon_kills;
      daemon.Kill();
      break;
    case Victim::kWriter:
      if (!plan.in_recovery) ++totals_.writer_kills;
      writer.Kill();
      return absl::OkStatus();
    case Victim::kBoth:
      if (!plan.in_recovery) ++totals_.both_kills;
      daemon.Kill();
      writer.Kill();
      break;
  }
  return daemon.Wait(kPatience).status();
}

// Until it has acknowledged as many as the plan wants. OutOfRange: it has ended before.
absl::Status CrashLoop::Listen(ChildProgram& writer, const Plan& plan, Heard* heard) {
  const uint64_t enough =
      plan.acknowledgements == UINT64_MAX ? UINT64_MAX : promised_ + plan.acknowledgements;
  while (!heard->recovered || heard->acknowledged < enough) {
    absl::StatusOr<std::string> line = writer.ReadLine(kPatience);
    if (absl::IsDeadlineExceeded(line.status())) {
      return Broken(absl::StrCat("the writer hangs: ", writer.Errors()));
    }
    if (!line.ok()) return line.status();
    if (absl::Status status = Hear(*line, /*count=*/false, heard); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status CrashLoop::Hear(const std::string& line, bool count, Heard* heard) {
  const std::vector<std::string> words = absl::StrSplit(line, ' ');
  std::vector<uint64_t> numbers(words.size());
  for (size_t i = 1; i < words.size(); ++i) {
    if (!absl::SimpleAtoi(words[i], &numbers[i])) return Broken("a writer said: " + line);
  }
  if (words[0] == "ack" && words.size() == 2) {
    totals_.acknowledged += numbers[1] - heard->acknowledged;
    heard->acknowledged = numbers[1];
  } else if (words[0] == "recovered" && words.size() == 4) {
    heard->recovered = true;
    heard->acknowledged = numbers[1];
    if (count) {
      totals_.replayed += numbers[2];
      totals_.torn_pages += numbers[3];
    }
    if (numbers[1] < promised_) {
      return Lost(absl::StrCat(promised_, " transactions were acknowledged, and ", numbers[1],
                               " are there"));
    }
  } else if (words[0] == "verified") {
    heard->verified = true;
  } else {
    return Broken("a writer said: " + line);
  }
  return absl::OkStatus();
}

// `ended`: by itself, before anything was killed.
absl::Status CrashLoop::EndOfWriter(ChildProgram& writer, const Plan& plan, bool ended) {
  const absl::StatusOr<int> code = writer.Wait(kPatience);
  if (absl::IsAborted(code.status())) return code.status();
  if (!code.ok()) return Broken(absl::StrCat("the writer hangs at its end: ", writer.Errors()));
  const std::string what =
      absl::StrCat("the writer ended with code ", *code, ": ", writer.Errors());
  if (*code == kWriterFoundWrong) return Lost(what);
  // Code 3 is right if its file system failed it, or was killed.
  const bool storage_failed = plan.faults || (!ended && plan.victim != Victim::kWriter);
  const bool killed = !ended && plan.victim != Victim::kDaemon;
  if (*code == kWriterStorageFailed && storage_failed) {
    if (ended) ++totals_.stopped_by_fault;
    return absl::OkStatus();
  }
  return *code == 128 + SIGKILL && killed ? absl::OkStatus() : Broken(what);
}

absl::Status CrashLoop::UnmountInGoodOrder(ChildProgram& daemon) {
  const absl::Time deadline = absl::Now() + kPatience;
  // The kernel takes the dead writer's ring apart in its own time.
  while (!work_->Unmount()) {
    if (absl::Now() > deadline) return Broken("the mount stays in use");
    absl::SleepFor(absl::Milliseconds(1));
  }
  const absl::StatusOr<int> code = daemon.Wait(kPatience);
  if (code.ok() && *code == 0) return absl::OkStatus();
  return Broken(absl::StrCat("the daemon does not end well: ", daemon.Errors()));
}

absl::Status CrashLoop::Verify(Dice& dice) {
  absl::StatusOr<ChildProgram> daemon = StartDaemon(Plan(), dice);
  if (!daemon.ok()) return daemon.status();
  absl::StatusOr<ChildProgram> writer = StartWriter(dice, /*verify=*/true);
  if (!writer.ok()) return writer.status();
  Heard heard;
  while (true) {
    const absl::StatusOr<std::string> line = writer->ReadLine(kPatience);
    if (absl::IsOutOfRange(line.status())) break;
    if (!line.ok()) return line.status();
    if (absl::Status status = Hear(*line, /*count=*/true, &heard); !status.ok()) return status;
  }
  const absl::StatusOr<int> code = writer->Wait(kPatience);
  if (!code.ok()) return code.status();
  if (*code == kWriterFoundWrong) return Lost(writer->Errors());
  if (*code != kWriterDone || !heard.verified) {
    return Broken(absl::StrCat("the verifier ended with code ", *code, ": ", writer->Errors()));
  }
  if (heard.acknowledged > promised_ + kMostUnacknowledged) {
    return Lost(absl::StrCat(promised_, " transactions were acknowledged, and ", heard.acknowledged,
                             " are there"));
  }
  promised_ = heard.acknowledged;
  ++totals_.verified;
  return UnmountInGoodOrder(*daemon);
}

}  // namespace fixpool::tests
