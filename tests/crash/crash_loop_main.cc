// The crash test as a program, for `./run crash`. See docs/crash_testing.md.
//
//   crash_loop [--rounds=100] [--first_round=0] [--seed=S] [--parent=DIR]
//     [--mutation=skip_sync] [--lie_about_sync] [--no_page_images] [--must_catch]
//
// With --must_catch the rounds go on until one of them fails, which is what is wanted; this counts
// as one. The last line is "N passed, N failed, N skipped"; exit code 1 if any failed, or none ran.

#include <signal.h>

#include <atomic>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <random>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tests/crash/arguments.h"
#include "tests/crash/crash_loop.h"

namespace fixpool::tests {
namespace {

// Of a run that long each thing that is there to happen should have happened.
constexpr uint64_t kEnoughRounds = 50;
constexpr uint64_t kProgressRounds = 10;

std::atomic<bool> g_interrupted = false;

struct Job {
  CrashLoop::Options options;
  uint64_t rounds = 100;
  uint64_t first_round = 0;
  bool must_catch = false;

  std::string Name() const {
    if (options.lie_about_sync) return "a disk that lies about sync";
    if (!options.page_images) return "a log without page images";
    if (!options.mutation.empty()) return "a cache with " + options.mutation;
    return "the cache";
  }
  std::string Replay(uint64_t round) const {
    return absl::StrCat("./run crash --seed=", options.seed, " --first_round=", round,
                        " --rounds=1", options.lie_about_sync ? " --lie_about_sync" : "",
                        options.page_images ? "" : " --no_page_images",
                        options.mutation.empty() ? "" : " --mutation=" + options.mutation);
  }
};

struct Count {
  uint64_t passed = 0;
  uint64_t failed = 0;
  uint64_t skipped = 0;

  int Report() const {
    std::printf("%" PRIu64 " passed, %" PRIu64 " failed, %" PRIu64 " skipped\n", passed, failed,
                skipped);
    return failed == 0 && passed > 0 ? 0 : 1;
  }
};

void PrintTotals(const CrashLoop& loop, absl::Duration took) {
  const CrashLoop::Totals& totals = loop.totals();
  std::printf("crashes: %" PRIu64 " daemon, %" PRIu64 " both, %" PRIu64 " writer, %" PRIu64
              " in recovery; writers that a fault stopped: %" PRIu64
              "\n"
              "transactions: %" PRIu64 " acknowledged, %" PRIu64
              " replayed; torn pages on disk: %" PRIu64 "; verified: %" PRIu64 " times\nfaults:",
              totals.daemon_kills, totals.both_kills, totals.writer_kills, totals.recovery_kills,
              totals.stopped_by_fault, totals.acknowledged, totals.replayed, totals.torn_pages,
              totals.verified);
  for (size_t i = 0; i < kCountedKinds; ++i) {
    std::printf("%s %s %" PRIu64, i == 0 ? "" : ",", kCountedNames[i],
                loop.faults().Get(static_cast<Counted>(i)));
  }
  std::printf("\n%s\n", absl::FormatDuration(absl::Trunc(took, absl::Milliseconds(10))).c_str());
}

// What a long run should have had and did not; "" if nothing.
std::string Missing(const CrashLoop& loop) {
  const CrashLoop::Totals& totals = loop.totals();
  std::string missing;
  for (size_t i = 0; i < kCountedKinds; ++i) {
    if (loop.faults().Get(static_cast<Counted>(i)) == 0) {
      absl::StrAppend(&missing, " ", kCountedNames[i], ";");
    }
  }
  if (totals.torn_pages == 0) missing += " torn pages;";
  if (totals.replayed == 0) missing += " transactions replayed;";
  if (totals.daemon_kills * totals.writer_kills * totals.both_kills * totals.recovery_kills == 0) {
    missing += " a kind of crash;";
  }
  if (totals.stopped_by_fault == 0) missing += " writers stopped by a fault;";
  return missing;
}

// Of a run that must have had some of everything.
void CheckNothingMissing(const Job& job, const CrashLoop& loop, Count* count) {
  if (job.rounds < kEnoughRounds || count->failed > 0 || g_interrupted) return;
  if (const std::string missing = Missing(loop); !missing.empty()) {
    std::printf("FAILED: this run had none of:%s\n", missing.c_str());
    ++count->failed;
  }
}

void PrintFailure(const Job& job, uint64_t round, const CrashLoop::Result& result) {
  std::printf("FAILED: round %" PRIu64 ": %s\n  replay: %s\n", round, result.what.c_str(),
              job.Replay(round).c_str());
  std::fflush(stdout);
}

// One that ends with the first round in which something was lost, as it should.
Count RunUntilCaught(const Job& job, CrashLoop& loop) {
  for (uint64_t i = 0; i < job.rounds && !g_interrupted; ++i) {
    const CrashLoop::Result result = loop.RunRound(job.first_round + i);
    if (result.outcome == CrashLoop::Outcome::kLost) {
      std::printf("caught in round %" PRIu64 ", as it should be: %s\n", i + 1, result.what.c_str());
      return {.passed = 1};
    }
    if (result.outcome == CrashLoop::Outcome::kInterrupted) break;
    if (result.outcome == CrashLoop::Outcome::kBroken) {
      PrintFailure(job, job.first_round + i, result);
      return {.failed = 1};
    }
  }
  if (g_interrupted) return {};
  std::printf("FAILED: %s was not caught in %" PRIu64 " rounds\n", job.Name().c_str(), job.rounds);
  return {.failed = 1};
}

Count RunRounds(const Job& job, CrashLoop& loop) {
  Count count;
  for (uint64_t i = 0; i < job.rounds && !g_interrupted; ++i) {
    const uint64_t round = job.first_round + i;
    const CrashLoop::Result result = loop.RunRound(round);
    if (result.outcome == CrashLoop::Outcome::kInterrupted) break;
    if (result.outcome == CrashLoop::Outcome::kPassed) {
      ++count.passed;
    } else {
      ++count.failed;
      PrintFailure(job, round, result);
    }
    if ((i + 1) % kProgressRounds == 0) {
      std::fprintf(stderr, "crash: %" PRIu64 " of %" PRIu64 " rounds, %" PRIu64 " failed\n", i + 1,
                   job.rounds, count.failed);
    }
  }
  return count;
}

int Run(const Job& job) {
  std::printf("crash: %s, --seed=%" PRIu64 "\n", job.Name().c_str(), job.options.seed);
  std::fflush(stdout);
  absl::StatusOr<std::unique_ptr<CrashLoop>> loop = CrashLoop::Create(job.options);
  if (!loop.ok()) {
    const bool skipped = absl::IsUnavailable(loop.status());
    std::printf("%s: %s\n", skipped ? "skipped" : "FAILED",
                std::string(loop.status().message()).c_str());
    const uint64_t all = job.must_catch ? 1 : job.rounds;
    return (skipped ? Count{.skipped = all} : Count{.failed = all}).Report();
  }
  const absl::Time start = absl::Now();
  Count count = job.must_catch ? RunUntilCaught(job, **loop) : RunRounds(job, **loop);
  if (!job.must_catch) CheckNothingMissing(job, **loop, &count);
  PrintTotals(**loop, absl::Now() - start);
  loop->reset();  // before the last line: a signal may come between
  if (g_interrupted) std::puts("interrupted");
  const int code = count.Report();
  return g_interrupted ? 130 : code;
}

int Main(int argc, char** argv) {
  struct sigaction action {};
  action.sa_handler = [](int) { g_interrupted = true; };
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);

  Arguments arguments(argc, argv);
  Job job;
  job.rounds = arguments.Number("rounds", 100);
  job.first_round = arguments.Number("first_round", 0);
  job.must_catch = arguments.Flag("must_catch");
  job.options.seed = arguments.Number("seed", std::random_device{}());
  job.options.parent = arguments.Text("parent", "");
  job.options.mutation = arguments.Text("mutation", "");
  job.options.lie_about_sync = arguments.Flag("lie_about_sync");
  job.options.page_images = !arguments.Flag("no_page_images");
  job.options.interrupted = &g_interrupted;
  arguments.EndIfUnused();
  return Run(job);
}

}  // namespace
}  // namespace fixpool::tests

int main(int argc, char** argv) { return fixpool::tests::Main(argc, argv); }
