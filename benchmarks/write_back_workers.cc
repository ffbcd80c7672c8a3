#include "benchmarks/write_back_workers.h"

#include <sys/prctl.h>
#include <time.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "benchmarks/verify_pattern.h"

namespace fixpool::benchmarks {
namespace {

// So that a writer that dies of an error ends the others soon, and they need not ask for the time
// in their sleep.
constexpr int64_t kLongestSleepNs = 50'000'000;

// A cache in which so many random pages in a row are found is one that holds them all.
constexpr int kTriesForACold = 1000;

void SleepUntil(int64_t when_ns) {
  timespec when;
  when.tv_sec = static_cast<time_t>(when_ns / 1'000'000'000);
  when.tv_nsec = static_cast<long>(when_ns % 1'000'000'000);
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, nullptr);  // early is no harm
}

// By default a thread may sleep 50 us longer than it asked for, half of what a disk takes.
void SleepPrecisely() { prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0); }

PageSequence SequenceOf(const WriteBackStage& stage, uint32_t thread) {
  return PageSequence({.pattern = Pattern::kRandom,
                       .pages = stage.page_file.pages(),
                       .thread = thread,
                       .threads = stage.options.writers + stage.options.readers,
                       .seed = stage.options.run.seed});
}

}  // namespace

// ---- Pace ----

Pace::Pace(const Options& options, int64_t start_ns)
    : step_ns_(options.per_second > 0 ? 1e9 * options.threads / options.per_second : 0),
      next_ns_(static_cast<double>(start_ns) + step_ns_ * options.thread / options.threads) {}

bool Pace::WaitForNext(const std::atomic<int64_t>& end_ns, int64_t& due_ns) {
  due_ns = 0;
  int64_t now_ns = NowNs();
  if (step_ns_ > 0) {
    due_ns = static_cast<int64_t>(next_ns_);
    next_ns_ += step_ns_;
  }
  while (true) {
    const int64_t end = end_ns.load(std::memory_order_relaxed);
    if (now_ns >= end) return false;
    if (now_ns >= due_ns) return true;
    // There may be no end yet.
    SleepUntil(std::min({due_ns, end, now_ns + kLongestSleepNs}));
    now_ns = NowNs();
  }
}

// ---- PageDirtier ----

PageDirtier::PageDirtier(WriteBackStage& stage, uint32_t thread)
    : stage_(stage),
      pace_({.per_second = stage.options.writes_per_second,
             .thread = thread,
             .threads = stage.options.writers}),
      sequence_(SequenceOf(stage, thread)) {}

absl::Status PageDirtier::Prepare() {
  SleepPrecisely();
  absl::Status status = DirtyUntil(stage_.warm_up_end_ns);
  latency_ = LatencyHistogram();
  held_up_ns_ = 0;
  return status;
}

absl::Status PageDirtier::Work(const std::atomic<int64_t>& end_ns) { return DirtyUntil(end_ns); }

absl::Status PageDirtier::DirtyUntil(const std::atomic<int64_t>& end_ns) {
  Pace pace(pace_, NowNs());
  int64_t due_ns;
  while (pace.WaitForNext(end_ns, due_ns)) {
    const int64_t begin_ns = NowNs();
    if (absl::Status status = Dirty(sequence_.NextPage()); !status.ok()) return status;
    const int64_t took_ns = NowNs() - begin_ns;
    latency_.Record(static_cast<uint64_t>(took_ns));
    if (took_ns > kHeldUpNs) held_up_ns_ += took_ns;
    stage_.dirtied.fetch_add(1, std::memory_order_relaxed);
  }
  return absl::OkStatus();
}

// Make and not Write: what was there need not be read.
absl::Status PageDirtier::Dirty(uint64_t page) {
  absl::StatusOr<storage::WriteGuard> guard = stage_.cache->Make({stage_.file, page});
  if (!guard.ok()) return guard.status();
  const auto bytes = guard->mutable_bytes();
  // One sector that tells which page it is; the others are zeros.
  WritePattern(absl::MakeSpan(bytes.data(), kPatternSectorBytes),
               page * stage_.options.run.page_bytes, /*sequence=*/2);
  return absl::OkStatus();
}

// ---- ColdReader ----

ColdReader::ColdReader(WriteBackStage& stage, uint32_t thread)
    : stage_(stage),
      pace_({.per_second = stage.options.reads_per_second,
             .thread = thread,
             .threads = stage.options.readers}),
      sequence_(SequenceOf(stage, stage.options.writers + thread)) {}

absl::Status ColdReader::Prepare() {
  SleepPrecisely();
  absl::Status status = ReadUntil(stage_.warm_up_end_ns);
  latency_ = LatencyHistogram();
  latency_from_due_ = LatencyHistogram();
  return status;
}

absl::Status ColdReader::Work(const std::atomic<int64_t>& end_ns) { return ReadUntil(end_ns); }

absl::Status ColdReader::ReadUntil(const std::atomic<int64_t>& end_ns) {
  Pace pace(pace_, NowNs());
  int64_t due_ns;
  while (pace.WaitForNext(end_ns, due_ns)) {
    const uint64_t page = NextColdPage();
    const int64_t begin_ns = NowNs();
    const absl::StatusOr<storage::ReadGuard> guard = stage_.cache->Read({stage_.file, page});
    if (!guard.ok()) return guard.status();
    const int64_t now_ns = NowNs();
    stage_.reads.fetch_add(1, std::memory_order_relaxed);
    uint64_t word;
    std::memcpy(&word, guard->bytes().data(), sizeof(word));
    bytes_seen_ += word & 0xFF;  // touched, as a user would
    if (now_ns > end_ns.load(std::memory_order_relaxed)) break;
    latency_.Record(static_cast<uint64_t>(now_ns - begin_ns));
    latency_from_due_.Record(static_cast<uint64_t>(now_ns - (due_ns > 0 ? due_ns : begin_ns)));
  }
  return absl::OkStatus();
}

// fio's reads all go to the disk.
uint64_t ColdReader::NextColdPage() {
  uint64_t page = sequence_.NextPage();
  for (int i = 0; i < kTriesForACold; ++i) {
    if (!stage_.cache->TryReadOptimistic({stage_.file, page}).has_page()) break;
    page = sequence_.NextPage();
  }
  return page;
}

}  // namespace fixpool::benchmarks
