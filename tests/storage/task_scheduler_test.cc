#include "fixpool/storage/task_scheduler.h"

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/types/span.h"
#include "tests/storage/task_fixture.h"
#include "tests/support/manual_environment.h"

namespace fixpool::storage {
namespace {

using StatusTask = Task<absl::Status>;

class TaskSchedulerTest : public TaskFixture {};

StatusTask WaitFor(TaskScheduler&, ManualEvent& event) {
  co_await event;
  co_return absl::OkStatus();
}
StatusTask Note(TaskScheduler&, std::vector<int>& log, int number) {
  log.push_back(number);
  co_await TaskScheduler::Yield();
  log.push_back(number);
  co_return absl::OkStatus();
}
StatusTask End(TaskScheduler&, absl::Status status) { co_return status; }

TEST_F(TaskSchedulerTest, RunsInTheOrderOfBecomingReady) {
  std::vector<int> log;
  int next = 0;
  EXPECT_TRUE(scheduler_
                  .RunConcurrently([&]() -> std::optional<StatusTask> {
                    if (next == 3) return std::nullopt;
                    return Note(scheduler_, log, next++);
                  })
                  .ok());
  EXPECT_EQ(log, (std::vector<int>{0, 1, 2, 0, 1, 2}));
}

TEST_F(TaskSchedulerTest, KeepsAsManyInFlightAsItIsTold) {
  int now = 0, most = 0, left = 10'000;
  const auto body = [](TaskScheduler&, int& running, int& peak) -> StatusTask {
    peak = std::max(peak, ++running);
    co_await TaskScheduler::Yield();
    --running;
    co_return absl::OkStatus();
  };
  EXPECT_TRUE(scheduler_
                  .RunConcurrently(
                      [&]() -> std::optional<StatusTask> {
                        if (left-- == 0) return std::nullopt;
                        return body(scheduler_, now, most);
                      },
                      {.in_flight = 5})
                  .ok());
  EXPECT_EQ(now, 0);
  EXPECT_EQ(most, 5);
}

TEST_F(TaskSchedulerTest, RunsTenThousandAtOnce) {
  constexpr size_t kTasks = 10'000;
  const auto many = CoroutineFrames::Create({.frame_count = kTasks, .frame_bytes = 2048}).value();
  TaskScheduler scheduler(many.get(), &progress_);
  ManualEvent event;
  size_t made = 0;
  progress_.Plan([&] {
    EXPECT_EQ(scheduler.CountUnfinished(), kTasks);
    event.Set();
  });
  EXPECT_TRUE(scheduler
                  .RunConcurrently(
                      [&]() -> std::optional<StatusTask> {
                        if (made == kTasks) return std::nullopt;
                        ++made;
                        return WaitFor(scheduler, event);
                      },
                      {.in_flight = kTasks})
                  .ok());
  EXPECT_EQ(scheduler.CountUnfinished(), 0u);
}

TEST_F(TaskSchedulerTest, ReturnsTheFirstErrorAndTheResultOfEach) {
  std::vector<StatusTask> tasks;
  tasks.push_back(End(scheduler_, absl::OkStatus()));
  tasks.push_back(End(scheduler_, absl::DataLossError("one")));
  tasks.push_back(StatusTask(absl::NotFoundError("two")));
  tasks.push_back(End(scheduler_, absl::OkStatus()));
  std::array<absl::Status, 4> results;
  results.fill(absl::UnknownError("nobody was here"));
  // One at a time: with more, the one that never runs would be the first to fail.
  EXPECT_EQ(
      scheduler_.RunConcurrently(absl::MakeSpan(tasks), absl::MakeSpan(results), {.in_flight = 1}),
      absl::DataLossError("one"));
  EXPECT_TRUE(results[0].ok());
  EXPECT_EQ(results[1], absl::DataLossError("one"));
  EXPECT_EQ(results[2], absl::NotFoundError("two"));
  EXPECT_TRUE(results[3].ok());
}

TEST_F(TaskSchedulerTest, RefusesWhatCannotRun) {
  std::vector<StatusTask> tasks;
  tasks.push_back(End(scheduler_, absl::OkStatus()));
  std::array<absl::Status, 2> results;
  EXPECT_EQ(scheduler_.RunConcurrently(absl::MakeSpan(tasks), absl::MakeSpan(results), {}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(scheduler_.RunConcurrently(absl::MakeSpan(tasks), {}, {.in_flight = 0}).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(TaskSchedulerTest, ReportsADeadlockAndDestroysWhoWaits) {
  ManualEvent event;
  std::vector<StatusTask> tasks;
  for (int i = 0; i < 3; ++i) tasks.push_back(WaitFor(scheduler_, event));
  tasks.push_back(End(scheduler_, absl::OkStatus()));
  tasks.push_back(End(scheduler_, absl::OkStatus()));
  std::array<absl::Status, 5> results;
  const absl::Status status =
      scheduler_.RunConcurrently(absl::MakeSpan(tasks), absl::MakeSpan(results), {.in_flight = 3});
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(status.message(), "3 tasks wait")) << status;
  for (const absl::Status& result : results) EXPECT_EQ(result, status);
  EXPECT_FALSE(event.awaited());
  EXPECT_EQ(scheduler_.Run(WaitFor(scheduler_, event)).code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(TaskSchedulerTest, StopsAtTheDeadline) {
  tests::ManualEnvironment environment;
  TaskScheduler scheduler(frames_.get(), &progress_, &environment);
  ManualEvent event;
  const io::Deadline deadline = environment.DeadlineAfter(absl::Seconds(1));
  progress_.Plan([&] { environment.Advance(500'000'000); });
  progress_.Plan([&] { environment.Advance(500'000'000); });
  std::vector<StatusTask> tasks;
  tasks.push_back(WaitFor(scheduler, event));
  tasks.push_back(End(scheduler, absl::OkStatus()));
  std::array<absl::Status, 2> results;
  const absl::Status status = scheduler.RunConcurrently(
      absl::MakeSpan(tasks), absl::MakeSpan(results), {.deadline = deadline});
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(results[0].code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(results[1].ok());
  EXPECT_EQ(progress_.deadline(), deadline);
  EXPECT_FALSE(event.awaited());
  EXPECT_EQ(scheduler.Run(WaitFor(scheduler, event), io::Deadline::Past()).code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST_F(TaskSchedulerTest, RefusesToRunInsideOfATask) {
  const auto nested = [](TaskScheduler& scheduler) -> StatusTask {
    EXPECT_EQ(scheduler.RunReady().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(scheduler.Run(End(scheduler, absl::OkStatus())).code(),
              absl::StatusCode::kFailedPrecondition);
    co_return scheduler.RunConcurrently([] { return std::nullopt; });
  };
  EXPECT_EQ(scheduler_.Run(nested(scheduler_)).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(TaskSchedulerTest, RefusesOtherThreads) {
  std::thread([&] {
    EXPECT_EQ(scheduler_.RunReady().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(scheduler_.Spawn(End(scheduler_, absl::OkStatus())).status().code(),
              absl::StatusCode::kFailedPrecondition);
  }).join();
}

TEST_F(TaskSchedulerTest, RunReadyRunsEachOnceAndNeverWaits) {
  std::vector<int> log;
  auto first = scheduler_.Spawn(Note(scheduler_, log, 1));
  auto second = scheduler_.Spawn(Note(scheduler_, log, 2));
  EXPECT_EQ(scheduler_.CountReady(), 2u);
  ASSERT_TRUE(scheduler_.RunReady().ok());
  EXPECT_EQ(log, (std::vector<int>{1, 2}));
  EXPECT_EQ(scheduler_.CountReady(), 2u);
  EXPECT_FALSE(first->done());
  ASSERT_TRUE(scheduler_.RunReady().ok());
  EXPECT_EQ(log, (std::vector<int>{1, 2, 1, 2}));
  EXPECT_TRUE(first->done() && second->done());
  ASSERT_TRUE(scheduler_.RunReady().ok());
  EXPECT_EQ(progress_.polls(), 3);
  EXPECT_TRUE(first->TakeResult().ok());
}

TEST_F(TaskSchedulerTest, SpawnRefusesATaskWithoutAFrame) {
  EXPECT_EQ(scheduler_.Spawn(StatusTask(absl::AbortedError("no"))).status(),
            absl::AbortedError("no"));
}

TEST_F(TaskSchedulerTest, TasksSpawnAndAwaitOthers) {
  const auto parent = [](TaskScheduler& scheduler, ManualEvent& event) -> StatusTask {
    std::vector<SpawnedTask<absl::Status>> children;
    for (int i = 0; i < 10; ++i) {
      absl::StatusOr<SpawnedTask<absl::Status>> child = scheduler.Spawn(WaitFor(scheduler, event));
      if (!child.ok()) co_return child.status();
      children.push_back(*std::move(child));
    }
    for (SpawnedTask<absl::Status>& child : children) {
      const absl::Status status = co_await std::move(child);
      if (!status.ok()) co_return status;
    }
    co_return absl::OkStatus();
  };
  ManualEvent event;
  progress_.Plan([&] {
    EXPECT_EQ(scheduler_.CountUnfinished(), 11u);
    event.Set();
  });
  EXPECT_TRUE(scheduler_.Run(parent(scheduler_, event)).ok());
}

TEST_F(TaskSchedulerTest, ATaskDropsAnotherThatIsSuspended) {
  const auto parent = [](TaskScheduler& scheduler, ManualEvent& event) -> StatusTask {
    auto child = scheduler.Spawn(WaitFor(scheduler, event));
    auto woken = scheduler.Spawn(WaitFor(scheduler, event));
    co_await TaskScheduler::Yield();
    EXPECT_TRUE(event.awaited());
    child = absl::CancelledError("dropped");
    EXPECT_TRUE(event.awaited());
    event.Set();
    EXPECT_FALSE(woken->done());
    woken = absl::CancelledError("dropped");
    co_return absl::OkStatus();
  };
  ManualEvent event;
  EXPECT_TRUE(scheduler_.Run(parent(scheduler_, event)).ok());
}

TEST_F(TaskSchedulerTest, DroppingWhoAwaitsASpawnedTaskDropsThatToo) {
  ManualEvent event;
  const auto join = [](TaskScheduler& scheduler, ManualEvent& e) -> StatusTask {
    auto child = scheduler.Spawn(WaitFor(scheduler, e));
    if (!child.ok()) co_return child.status();
    co_return co_await *std::move(child);
  };
  {
    auto parent = scheduler_.Spawn(join(scheduler_, event));
    ASSERT_TRUE(scheduler_.RunReady().ok());
    ASSERT_TRUE(scheduler_.RunReady().ok());
    EXPECT_TRUE(event.awaited());
  }
  EXPECT_FALSE(event.awaited());
  EXPECT_EQ(scheduler_.CountUnfinished(), 0u);
}

TEST_F(TaskSchedulerTest, DetachedTasksEndByThemselvesOrWithTheScheduler) {
  ManualEvent event;
  ManualEvent never;
  {
    TaskScheduler scheduler(frames_.get(), &progress_);
    auto first = scheduler.Spawn(WaitFor(scheduler, event));
    auto second = scheduler.Spawn(WaitFor(scheduler, never));
    auto done = scheduler.Spawn(End(scheduler, absl::OkStatus()));
    ASSERT_TRUE(scheduler.RunReady().ok());
    std::move(*first).Detach();
    std::move(*second).Detach();
    std::move(*done).Detach();
    EXPECT_EQ(scheduler.CountUnfinished(), 2u);
    event.Set();
    ASSERT_TRUE(scheduler.RunReady().ok());
    EXPECT_EQ(scheduler.CountUnfinished(), 1u);
    EXPECT_TRUE(never.awaited());
  }
  EXPECT_FALSE(never.awaited());
}

TEST_F(TaskSchedulerTest, ResultsOutliveTheScheduler) {
  auto scheduler = std::make_unique<TaskScheduler>(frames_.get(), &progress_);
  auto task = scheduler->Spawn(End(*scheduler, absl::DataLossError("kept")));
  ASSERT_TRUE(scheduler->RunReady().ok());
  scheduler.reset();
  EXPECT_EQ(task->TakeResult(), absl::DataLossError("kept"));
}

// What a bounded resource looks like: as many as there are frames, the others are told.
TEST_F(TaskSchedulerTest, MoreInFlightThanFramesIsResourceExhaustedForThose) {
  ManualEvent event;
  progress_.Plan([&] { event.Set(); });
  size_t made = 0;
  const absl::Status status = scheduler_.RunConcurrently(
      [&]() -> std::optional<StatusTask> {
        if (made++ == kFrames + 1) return std::nullopt;
        return WaitFor(scheduler_, event);
      },
      {.in_flight = kFrames + 1});
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
}

class TaskSchedulerDeathTest : public TaskFixture {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(TaskSchedulerDeathTest, ChecksThatNoSpawnedTaskIsLeft) {
  EXPECT_DEATH(
      {
        ManualEvent event;
        auto scheduler = std::make_unique<TaskScheduler>(frames_.get(), &progress_);
        auto task = scheduler->Spawn(WaitFor(*scheduler, event));
        scheduler.reset();
      },
      "1 spawned tasks outlive");
}

TEST_F(TaskSchedulerDeathTest, ChecksThatATaskDoesNotDestroyItself) {
  std::optional<SpawnedTask<absl::Status>> self;
  const auto suicide = [](TaskScheduler&,
                          std::optional<SpawnedTask<absl::Status>>& me) -> StatusTask {
    me.reset();
    co_return absl::OkStatus();
  };
  EXPECT_DEATH(
      {
        self.emplace(*scheduler_.Spawn(suicide(scheduler_, self)));
        (void)scheduler_.RunReady();
      },
      "destroys itself");
}

TEST_F(TaskSchedulerDeathTest, ChecksThatATaskWhoseResultIsTakenIsDone) {
  EXPECT_DEATH(
      {
        auto task = scheduler_.Spawn(End(scheduler_, absl::OkStatus()));
        (void)task->TakeResult();
      },
      "has not ended");
}

TEST_F(TaskSchedulerDeathTest, ChecksThatWhatIsWaitedForStays) {
  EXPECT_DEATH(
      {
        auto event = std::make_unique<ManualEvent>();
        auto task = scheduler_.Spawn(WaitFor(scheduler_, *event));
        (void)scheduler_.RunReady();
        event.reset();
      },
      "something goes that tasks wait for");
}

}  // namespace
}  // namespace fixpool::storage
