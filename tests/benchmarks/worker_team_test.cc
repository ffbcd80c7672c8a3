#include "benchmarks/worker_team.h"

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace fixpool::benchmarks {
namespace {

struct Log {
  std::atomic<int> prepared{0};
  std::atomic<int> worked{0};
  std::atomic<bool> all_were_ready{true};
};

class SpinningWorker : public Worker {
 public:
  SpinningWorker(Log& log, int team_size, absl::Status prepare, absl::Status work)
      : log_(log), team_size_(team_size), prepare_(prepare), work_(work) {}

  absl::Status Prepare() override {
    ++log_.prepared;
    return prepare_;
  }

  absl::Status Work(const std::atomic<int64_t>& end_ns) override {
    if (log_.prepared != team_size_) log_.all_were_ready = false;
    ++log_.worked;
    if (!work_.ok()) return work_;
    while (NowNs() < end_ns.load()) std::this_thread::yield();
    return absl::OkStatus();
  }

 private:
  Log& log_;
  const int team_size_;
  const absl::Status prepare_;
  const absl::Status work_;
};

std::vector<std::unique_ptr<Worker>> Team(Log& log, int size, absl::Status last_prepare = {},
                                          absl::Status last_work = {}) {
  std::vector<std::unique_ptr<Worker>> team;
  for (int i = 0; i < size; ++i) {
    const bool last = i == size - 1;
    team.push_back(std::make_unique<SpinningWorker>(log, size, last ? last_prepare : absl::Status(),
                                                    last ? last_work : absl::Status()));
  }
  return team;
}

TEST(WorkerTeamTest, AllAreReadyBeforeTheFirstWorks) {
  Log log;
  int starts = 0, ends = 0;
  const auto interval = RunTeam(
      Team(log, 3), {.seconds = 0.02, .at_start = [&] { ++starts; }, .at_end = [&] { ++ends; }});
  ASSERT_TRUE(interval.ok()) << interval.status();
  EXPECT_EQ(log.worked, 3);
  EXPECT_TRUE(log.all_were_ready);
  EXPECT_EQ(starts, 1);
  EXPECT_EQ(ends, 1);
  EXPECT_DOUBLE_EQ(interval->seconds, 0.02);
  EXPECT_GT(interval->cpu_ns, 0);
}

TEST(WorkerTeamTest, NobodyWorksIfOneIsNotReady) {
  Log log;
  const auto interval = RunTeam(Team(log, 3, absl::AbortedError("no")), {.seconds = 1000});
  EXPECT_EQ(interval.status(), absl::AbortedError("no"));
  EXPECT_EQ(log.worked, 0);
}

TEST(WorkerTeamTest, AnErrorEndsTheRunForAll) {
  Log log;
  // Would take longer than any test may.
  const auto interval = RunTeam(Team(log, 3, {}, absl::AbortedError("no")), {.seconds = 100'000});
  EXPECT_EQ(interval.status(), absl::AbortedError("no"));
  EXPECT_EQ(log.worked, 3);
}

}  // namespace
}  // namespace fixpool::benchmarks
