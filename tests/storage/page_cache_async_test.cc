// Tasks on one thread that await pages, with an engine that does as it is told and time that
// passes only while the thread waits.

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "fixpool/io/error.h"
#include "fixpool/storage/cache_progress.h"
#include "fixpool/storage/coroutine_frames.h"
#include "fixpool/storage/page_cache.h"
#include "fixpool/storage/task.h"
#include "fixpool/storage/task_scheduler.h"
#include "gtest/gtest.h"
#include "tests/storage/cache_fixture.h"
#include "tests/storage/task_fixture.h"

namespace fixpool::tests {
namespace {

using io::IoOperation;
using storage::AccessOptions;
using storage::CacheProgress;
using storage::CoroutineFrames;
using storage::PageCache;
using storage::PageId;
using storage::ReadGuard;
using storage::SpawnedTask;
using storage::TaskScheduler;
using storage::WriteGuard;
using StatusTask = storage::Task<absl::Status>;
using TextTask = storage::Task<absl::StatusOr<std::string>>;

TextTask ReadText(TaskScheduler&, PageCache& cache, PageId page, AccessOptions options) {
  const absl::StatusOr<ReadGuard> guard = co_await cache.ReadAsync(page, options);
  if (!guard.ok()) co_return guard.status();
  co_return Text(guard->bytes());
}

StatusTask ExpectText(TaskScheduler&, PageCache& cache, PageId page, uint64_t version) {
  const absl::StatusOr<ReadGuard> guard = co_await cache.ReadAsync(page);
  if (!guard.ok()) co_return guard.status();
  EXPECT_TRUE(Text(guard->bytes()) == PageText(page.page_number, version)) << page.page_number;
  co_return absl::OkStatus();
}

StatusTask WriteText(TaskScheduler&, PageCache& cache, PageId page, uint64_t version,
                     AccessOptions options) {
  absl::StatusOr<WriteGuard> guard = co_await cache.WriteAsync(page, options);
  if (!guard.ok()) co_return guard.status();
  Put(*guard, PageText(page.page_number, version));
  co_return absl::OkStatus();
}

// Holds the page while others get `turns` turns.
StatusTask HoldForTurns(TaskScheduler&, PageCache& cache, PageId page, bool exclusively,
                        int turns) {
  std::optional<ReadGuard> read;
  std::optional<WriteGuard> write;
  if (exclusively) {
    absl::StatusOr<WriteGuard> guard = co_await cache.WriteAsync(page);
    if (!guard.ok()) co_return guard.status();
    write = *std::move(guard);
  } else {
    absl::StatusOr<ReadGuard> guard = co_await cache.ReadAsync(page);
    if (!guard.ok()) co_return guard.status();
    read = *std::move(guard);
  }
  for (; turns > 0; --turns) co_await TaskScheduler::Yield();
  co_return absl::OkStatus();
}

class PageCacheAsyncTest : public FakeCacheTest {
 protected:
  void Start(uint32_t frames, uint64_t pages, FakeEngine::Options options = {}) {
    FakeCacheTest::Start(frames, pages, options);
    tasks_.emplace(stack_->cache.get(), &environment_);
  }
  TaskScheduler& scheduler() { return tasks_->scheduler; }

  absl::StatusOr<std::string> Read(uint64_t page, AccessOptions options = {}) {
    return scheduler().Run(ReadText(scheduler(), cache(), Page(page), options));
  }
  absl::Status RunAll(std::vector<StatusTask> tasks, std::vector<absl::Status>* results = nullptr) {
    std::vector<absl::Status> unused;
    std::vector<absl::Status>& all = results != nullptr ? *results : unused;
    all.assign(tasks.size(), absl::UnknownError("not set"));
    return scheduler().RunConcurrently(absl::MakeSpan(tasks), absl::MakeSpan(all), {});
  }
  void ExpectNothingIsHeld() {
    EXPECT_EQ(cache().Stats().pinned_frames, 0u);
    EXPECT_EQ(tasks_->scheduler.CountUnfinished(), 0u);
  }

  struct Tasks {
    Tasks(PageCache* cache, io::Environment* environment)
        : progress(cache),
          frames(*CoroutineFrames::Create({.frame_count = 512, .frame_bytes = 2048})),
          scheduler(frames.get(), &progress, environment) {}
    CacheProgress progress;
    std::unique_ptr<CoroutineFrames> frames;
    TaskScheduler scheduler;
  };
  std::optional<Tasks> tasks_;
};

// ---- What a task gets ----

TEST_F(PageCacheAsyncTest, MissBringsThePageAndAHitDoesNotWait) {
  Start(8, 4);
  EXPECT_EQ(*Read(2), PageText(2));
  EXPECT_EQ(cache().Stats().misses, 1u);
  const uint64_t submits = engine().submits();
  // Time does not pass, and it need not wait.
  EXPECT_EQ(*Read(2, {.timeout = absl::ZeroDuration()}), PageText(2));
  EXPECT_EQ(cache().Stats().hits, 1u);
  EXPECT_EQ(engine().submits(), submits);
  ExpectNothingIsHeld();
}

TEST_F(PageCacheAsyncTest, WhatATaskWritesIsReadAndReachesTheDisk) {
  Start(8, 4);
  EXPECT_TRUE(scheduler().Run(WriteText(scheduler(), cache(), Page(1), 7, {})).ok());
  EXPECT_TRUE(scheduler().Run(WriteText(scheduler(), cache(), Page(5), 3, {})).ok());  // made
  ExpectVersion(1, 7);
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_EQ(ReadWholeFile(path_).substr(kPageBytes, kPageBytes), PageText(1, 7));
  EXPECT_EQ(ReadWholeFile(path_).substr(4 * kPageBytes, kPageBytes), std::string(kPageBytes, 0));
  EXPECT_EQ(ReadWholeFile(path_).substr(5 * kPageBytes, kPageBytes), PageText(5, 3));
}

TEST_F(PageCacheAsyncTest, MadePageIsZerosWithoutARead) {
  Start(8, 4);
  const auto make = [](TaskScheduler&, PageCache& cache, PageId page) -> StatusTask {
    const absl::StatusOr<WriteGuard> guard = co_await cache.MakeAsync(page);
    if (!guard.ok()) co_return guard.status();
    EXPECT_EQ(Text(guard->bytes()), std::string(kPageBytes, 0));
    co_return absl::OkStatus();
  };
  EXPECT_TRUE(scheduler().Run(make(scheduler(), cache(), Page(2))).ok());
  EXPECT_EQ(engine().Count(IoOperation::kRead), 0u);
}

TEST_F(PageCacheAsyncTest, ErrorsAreThoseOfRead) {
  Start(8, 4);
  EXPECT_TRUE(absl::IsOutOfRange(Read(4).status()));
  EXPECT_EQ(Read(4).status(), cache().Read(Page(4)).status());
  EXPECT_TRUE(absl::IsNotFound(
      scheduler().Run(ReadText(scheduler(), cache(), {storage::FileId(9, 9), 0}, {})).status()));
  engine().Fail({.operation = IoOperation::kRead}, io::ErrnoStatus(EIO, "the test"));
  EXPECT_EQ(io::ErrnoOf(Read(1).status()), EIO);
  EXPECT_EQ(*Read(1), PageText(1));
  ExpectNothingIsHeld();
}

// ---- Many at once ----

TEST_F(PageCacheAsyncTest, MissesGoToTheEngineTogether) {
  Start(64, 64, {.depth = 32});
  std::vector<StatusTask> tasks;
  for (uint64_t page = 0; page < 32; ++page) {
    tasks.push_back(ExpectText(scheduler(), cache(), Page(page), 0));
  }
  EXPECT_TRUE(RunAll(std::move(tasks)).ok());
  EXPECT_EQ(engine().Count(IoOperation::kRead), 32u);
  EXPECT_LE(engine().submits(), 8u);
  ExpectNothingIsHeld();
}

TEST_F(PageCacheAsyncTest, MoreMissesThanTheEngineTakesGoInTurn) {
  Start(256, 256, {.depth = 4});
  std::vector<StatusTask> tasks;
  for (uint64_t page = 0; page < 256; ++page) {
    tasks.push_back(ExpectText(scheduler(), cache(), Page(page), 0));
  }
  EXPECT_TRUE(RunAll(std::move(tasks)).ok());
  EXPECT_EQ(engine().Count(IoOperation::kRead), 256u);
  ExpectNothingIsHeld();
}

TEST_F(PageCacheAsyncTest, TasksThatMissOnePageShareItsReadAndItsError) {
  Start(8, 4);
  std::vector<absl::Status> results;
  for (const bool fails : {true, false}) {
    if (fails) engine().Fail({.operation = IoOperation::kRead}, io::ErrnoStatus(EIO, "the test"));
    std::vector<StatusTask> tasks;
    for (int i = 0; i < 10; ++i) tasks.push_back(ExpectText(scheduler(), cache(), Page(2), 0));
    EXPECT_EQ(RunAll(std::move(tasks), &results).ok(), !fails);
    for (const absl::Status& result : results) EXPECT_EQ(io::ErrnoOf(result), fails ? EIO : 0);
  }
  EXPECT_EQ(engine().Count(IoOperation::kRead), 2u);
  ExpectNothingIsHeld();
}

TEST_F(PageCacheAsyncTest, ManyTasksOnFewFramesAllFinish) {
  Start(4, 64);
  std::vector<StatusTask> tasks;
  for (uint64_t i = 0; i < 400; ++i) {
    tasks.push_back(i % 3 == 0 ? WriteText(scheduler(), cache(), Page(i * 7 % 64), 0, {})
                               : ExpectText(scheduler(), cache(), Page(i * 7 % 64), 0));
  }
  EXPECT_TRUE(RunAll(std::move(tasks)).ok());
  ExpectNothingIsHeld();
}

// ---- Latches ----

TEST_F(PageCacheAsyncTest, TaskWaitsForALatchOfAnotherTaskOfItsThread) {
  Start(8, 4);
  for (const bool first_exclusively : {true, false}) {
    for (const bool second_exclusively : {true, false}) {
      std::vector<StatusTask> tasks;
      tasks.push_back(HoldForTurns(scheduler(), cache(), Page(1), first_exclusively, 5));
      tasks.push_back(HoldForTurns(scheduler(), cache(), Page(1), second_exclusively, 5));
      tasks.push_back(HoldForTurns(scheduler(), cache(), Page(1), first_exclusively, 5));
      EXPECT_TRUE(RunAll(std::move(tasks)).ok());
      ExpectNothingIsHeld();
    }
  }
}

TEST_F(PageCacheAsyncTest, OfTasksThatWaitForEachOtherOneEndsAtItsDeadline) {
  Start(8, 4);
  const auto both = [](TaskScheduler&, PageCache& cache, PageId first,
                       PageId second) -> StatusTask {
    const absl::StatusOr<WriteGuard> one = co_await cache.WriteAsync(first);
    if (!one.ok()) co_return one.status();
    co_await TaskScheduler::Yield();
    const absl::StatusOr<WriteGuard> other =
        co_await cache.WriteAsync(second, {.timeout = absl::Seconds(1)});
    co_return other.status();
  };
  ASSERT_TRUE(Read(1).ok());
  ASSERT_TRUE(Read(2).ok());
  std::vector<absl::Status> results;
  std::vector<StatusTask> tasks;
  tasks.push_back(both(scheduler(), cache(), Page(1), Page(2)));
  tasks.push_back(both(scheduler(), cache(), Page(2), Page(1)));
  EXPECT_TRUE(absl::IsDeadlineExceeded(RunAll(std::move(tasks), &results)));
  // It lets go of what the other wants.
  EXPECT_NE(results[0].ok(), results[1].ok());
  const absl::Status& failed = results[0].ok() ? results[1] : results[0];
  EXPECT_TRUE(absl::StrContains(failed.message(), "others hold guards")) << failed;
  ExpectNothingIsHeld();
}

TEST_F(PageCacheAsyncTest, ThreadThatWouldBlockOnItsOwnTaskIsRefused) {
  Start(8, 4);
  ExpectVersion(1, 0);
  SpawnedTask<absl::Status> holder =
      *scheduler().Spawn(HoldForTurns(scheduler(), cache(), Page(1), true, 3));
  ASSERT_TRUE(scheduler().RunReady().ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(cache().Read(Page(1)).status()));
  while (!holder.done()) ASSERT_TRUE(scheduler().RunReady().ok());
  ExpectVersion(1, 0);
}

// ---- Bounds ----

// Nothing but what the tasks do themselves: no Wait, which looks at everything once more.
TEST_F(PageCacheAsyncTest, WhoWaitsForAFrameHearsOfThePageThatWasWaitedFor) {
  Start(1, 4);
  SpawnedTask<absl::Status> holder =
      *scheduler().Spawn(HoldForTurns(scheduler(), cache(), Page(1), false, 3));
  SpawnedTask<absl::Status> other =
      *scheduler().Spawn(ExpectText(scheduler(), cache(), Page(2), 0));
  for (int turn = 0; turn < 100 && !other.done(); ++turn) {
    ASSERT_TRUE(scheduler().RunReady().ok());
  }
  ASSERT_TRUE(holder.done());
  ASSERT_TRUE(other.done());
  EXPECT_TRUE(other.TakeResult().ok());
}

TEST_F(PageCacheAsyncTest, ReadThatDoesNotEndIsGivenUpAtTheDeadline) {
  Start(8, 4);
  engine().Hold({.operation = IoOperation::kRead});
  const int64_t begin_ns = environment_.NowNs();
  const absl::Status status = Read(2, {.timeout = absl::Seconds(5)}).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "its read is still in flight")) << status;
  EXPECT_GE(environment_.NowNs() - begin_ns, 5'000'000'000);
  EXPECT_LE(environment_.NowNs() - begin_ns, 6'000'000'000);
  engine().ReleaseAll();
  ExpectVersion(2, 0);
  EXPECT_EQ(engine().Count(IoOperation::kRead), 1u);
}

TEST_F(PageCacheAsyncTest, NoFrameUntilTheDeadlineIsResourceExhausted) {
  Start(2, 8);
  const ReadGuard first = *cache().Read(Page(0));
  const ReadGuard second = *cache().Read(Page(1));
  const absl::Status status = Read(2, {.timeout = absl::Seconds(1)}).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  ExpectVersion(0, 0);
}

TEST_F(PageCacheAsyncTest, EachTaskHasItsOwnDeadline) {
  Start(8, 8);
  engine().Hold({.operation = IoOperation::kRead});
  std::vector<int64_t> ends;
  const auto read = [](TaskScheduler&, PageCache& cache, PageId page, absl::Duration timeout,
                       std::function<void()> ended) -> StatusTask {
    const absl::StatusOr<ReadGuard> guard = co_await cache.ReadAsync(page, {.timeout = timeout});
    ended();
    co_return guard.status();
  };
  const std::function<void()> note = [&] { ends.push_back(environment_.NowNs() / 1'000'000'000); };
  std::vector<StatusTask> tasks;
  for (const int seconds : {30, 10, 20}) {
    tasks.push_back(read(scheduler(), cache(), Page(1), absl::Seconds(seconds), note));
  }
  EXPECT_TRUE(absl::IsDeadlineExceeded(RunAll(std::move(tasks))));
  EXPECT_EQ(ends, (std::vector<int64_t>{11, 21, 31}));
  engine().ReleaseAll();
}

TEST_F(PageCacheAsyncTest, PagesThatCannotBeWrittenAreTriedAgainAfterAPause) {
  Start(2, 8);
  Change(0);
  Change(1);
  engine().Fail({.operation = IoOperation::kWrite}, io::ErrnoStatus(ENOSPC, "the test"), 4);
  EXPECT_EQ(*Read(2), PageText(2));
  EXPECT_EQ(cache().Stats().write_errors, 4u);
  ExpectVersion(0, 1);
  ExpectVersion(1, 1);
}

TEST_F(PageCacheAsyncTest, TasksThatWaitForNothingOfTheCacheAreDeadlocked) {
  Start(8, 4);
  const auto wait = [](TaskScheduler&, storage::ManualEvent& event) -> StatusTask {
    co_await event;
    co_return absl::OkStatus();
  };
  storage::ManualEvent never;
  EXPECT_TRUE(absl::IsFailedPrecondition(scheduler().Run(wait(scheduler(), never))));
  ExpectNothingIsHeld();
}

// ---- Destroyed while they wait ----

TEST_F(PageCacheAsyncTest, DestroyedWhileItsReadIsInFlight) {
  Start(8, 4);
  engine().Hold({.operation = IoOperation::kRead});
  {
    SpawnedTask<absl::StatusOr<std::string>> task =
        *scheduler().Spawn(ReadText(scheduler(), cache(), Page(2), {}));
    ASSERT_TRUE(scheduler().RunReady().ok());
    EXPECT_EQ(cache().Stats().pinned_frames, 1u);
  }
  ExpectNothingIsHeld();
  EXPECT_EQ(cache().Stats().in_flight_frames, 1u);
  engine().ReleaseAll();
  ExpectVersion(2, 0);
  EXPECT_EQ(engine().Count(IoOperation::kRead), 1u);
}

TEST_F(PageCacheAsyncTest, DestroyedBeforeItsReadWasSentOff) {
  Start(8, 4);
  {
    SpawnedTask<absl::StatusOr<std::string>> task =
        *scheduler().Spawn(ReadText(scheduler(), cache(), Page(2), {}));
    const auto step = [](TaskScheduler&) -> StatusTask { co_return absl::OkStatus(); };
    // Runs the first, too, and ends before anybody waits.
    EXPECT_TRUE(scheduler().Run(step(scheduler())).ok());
    EXPECT_EQ(engine().Count(IoOperation::kRead), 0u);
    EXPECT_EQ(cache().Stats().misses, 1u);
  }
  ExpectNothingIsHeld();
  ExpectVersion(2, 0);  // by a thread that waits for the same read
  EXPECT_EQ(engine().Count(IoOperation::kRead), 1u);
}

TEST_F(PageCacheAsyncTest, CacheThatDiesSendsOffWhatNobodyWaitsForAnyMore) {
  Start(8, 4);
  {
    SpawnedTask<absl::StatusOr<std::string>> task =
        *scheduler().Spawn(ReadText(scheduler(), cache(), Page(2), {}));
    const auto step = [](TaskScheduler&) -> StatusTask { co_return absl::OkStatus(); };
    EXPECT_TRUE(scheduler().Run(step(scheduler())).ok());
  }
  tasks_.reset();
  stack_->cache.reset();
  EXPECT_FALSE(environment_.Heard("in flight"));
}

TEST_F(PageCacheAsyncTest, DestroyedWhileItWaitsForALatchLetsOthersIn) {
  Start(8, 4);
  std::optional<ReadGuard> held = *cache().Read(Page(1));
  std::optional<SpawnedTask<absl::Status>> writer =
      *scheduler().Spawn(WriteText(scheduler(), cache(), Page(1), 1, {}));
  ASSERT_TRUE(scheduler().RunReady().ok());
  held.reset();  // the writer is ready, and its turn comes to nobody
  writer.reset();
  EXPECT_EQ(*Read(1), PageText(1));
  ExpectNothingIsHeld();
}

TEST_F(PageCacheAsyncTest, DestroyedWithATurnForAFrameLeavesItToTheNext) {
  Start(1, 8);
  std::optional<ReadGuard> held = *cache().Read(Page(0));
  std::optional<SpawnedTask<absl::StatusOr<std::string>>> first =
      *scheduler().Spawn(ReadText(scheduler(), cache(), Page(1), {}));
  SpawnedTask<absl::StatusOr<std::string>> second =
      *scheduler().Spawn(ReadText(scheduler(), cache(), Page(2), {}));
  ASSERT_TRUE(scheduler().RunReady().ok());
  held.reset();  // the first is ready
  first.reset();
  const int64_t begin_ns = environment_.NowNs();
  while (!second.done()) ASSERT_TRUE(scheduler().RunReady().ok());
  EXPECT_EQ(*second.TakeResult(), PageText(2));
  EXPECT_EQ(environment_.NowNs(), begin_ns);
  ExpectNothingIsHeld();
}

TEST_F(PageCacheAsyncTest, TurnForATransferThatIsNotUsedGoesToTheNext) {
  Start(8, 8, {.depth = 1});
  const auto spawn = [this](uint64_t page) {
    return *scheduler().Spawn(ReadText(scheduler(), cache(), Page(page), {}));
  };
  auto first = spawn(5), second = spawn(1), third = spawn(2);
  ASSERT_TRUE(scheduler().RunReady().ok());  // the engine has room for one
  // Takes in the first's read, by which the second has a turn, and then takes its page.
  absl::StatusOr<WriteGuard> taken = cache().Write(Page(1));
  ASSERT_TRUE(taken.ok()) << taken.status();
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(scheduler().RunReady().ok());
  EXPECT_TRUE(first.done());
  EXPECT_FALSE(second.done());
  EXPECT_TRUE(third.done());
  taken->Release();
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(scheduler().RunReady().ok());
  EXPECT_TRUE(second.done());
}

TEST_F(PageCacheAsyncTest, SchedulerThatDiesTakesItsTasksOutOfAllLists) {
  Start(2, 16, {.depth = 2});
  engine().Hold({.operation = IoOperation::kRead});
  for (uint64_t page = 0; page < 8; ++page) {
    std::move(*scheduler().Spawn(ReadText(scheduler(), cache(), Page(page), {}))).Detach();
  }
  ASSERT_TRUE(scheduler().RunReady().ok());
  EXPECT_EQ(cache().Stats().waits, 8u);
  tasks_.reset();
  EXPECT_EQ(cache().Stats().pinned_frames, 0u);
  engine().ReleaseAll();
  ExpectVersion(5, 0);
}

// ---- A loop of the caller's own ----

TEST_F(PageCacheAsyncTest, CallersLoopNeedsRunReadyAlone) {
  Start(16, 16);
  std::vector<SpawnedTask<absl::StatusOr<std::string>>> tasks;
  for (uint64_t page = 0; page < 16; ++page) {
    tasks.push_back(*scheduler().Spawn(ReadText(scheduler(), cache(), Page(page), {})));
  }
  int rounds = 0;
  while (scheduler().CountUnfinished() > 0) {
    ASSERT_TRUE(scheduler().RunReady().ok());
    ASSERT_LT(++rounds, 10);
  }
  for (uint64_t page = 0; page < 16; ++page) {
    EXPECT_EQ(*tasks[page].TakeResult(), PageText(page));
  }
}

}  // namespace
}  // namespace fixpool::tests
