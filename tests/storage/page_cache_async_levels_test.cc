// Tasks that await pages, on the real kernel and with several threads.

#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/storage/cache_progress.h"
#include "fixpool/storage/coroutine_frames.h"
#include "fixpool/storage/page_cache.h"
#include "fixpool/storage/task.h"
#include "fixpool/storage/task_scheduler.h"
#include "gtest/gtest.h"
#include "tests/storage/level_fixture.h"
#include "tests/support/seed.h"

namespace fixpool::tests {
namespace {

using storage::CacheProgress;
using storage::CoroutineFrames;
using storage::PageId;
using storage::ReadGuard;
using storage::TaskScheduler;
using storage::WriteGuard;
using StatusTask = storage::Task<absl::Status>;

StatusTask ExpectText(TaskScheduler&, storage::PageCache& cache, PageId page) {
  const absl::StatusOr<ReadGuard> guard = co_await cache.ReadAsync(page);
  if (!guard.ok()) co_return guard.status();
  EXPECT_TRUE(Text(guard->bytes()) == PageText(page.page_number)) << page.page_number;
  co_return absl::OkStatus();
}

// Adds one to the number that the page begins with.
StatusTask CountUp(TaskScheduler&, storage::PageCache& cache, PageId page, bool hold_on) {
  absl::StatusOr<WriteGuard> guard = co_await cache.WriteAsync(page);
  if (!guard.ok()) co_return guard.status();
  if (hold_on) co_await TaskScheduler::Yield();
  uint64_t count;
  std::memcpy(&count, guard->bytes().data(), sizeof(count));
  ++count;
  std::memcpy(guard->mutable_bytes().data(), &count, sizeof(count));
  co_return absl::OkStatus();
}

class PageCacheAsyncLevelsTest : public LevelTest {
 protected:
  void StartWithFile(uint32_t frames, uint64_t pages) {
    Start(frames);
    if (cache_ == nullptr) return;
    file_ = *cache().OpenFile(scratch_.MakeFile("data.db", FileText(pages)));
  }
  static std::unique_ptr<CoroutineFrames> Frames(size_t count) {
    return *CoroutineFrames::Create({.frame_count = count, .frame_bytes = 2048});
  }
  uint64_t CountOn(uint64_t page) {
    const ReadGuard guard = *cache().Read(Page(page));
    uint64_t count;
    std::memcpy(&count, guard.bytes().data(), sizeof(count));
    return count;
  }
};
INSTANTIATE_TEST_SUITE_P(Levels, PageCacheAsyncLevelsTest, AllLevels(), LevelName);

TEST_P(PageCacheAsyncLevelsTest, TenThousandTasksOn64FramesAllFinish) {
  constexpr size_t kTasks = 10'000;
  constexpr uint64_t kPages = 1000;
  StartWithFile(64, kPages);
  if (IsSkipped() || HasFailure()) return;
  const auto frames = Frames(kTasks);
  CacheProgress progress(&cache());
  TaskScheduler scheduler(frames.get(), &progress);
  std::mt19937_64 random(Seed());
  size_t started = 0;
  const absl::Status all = scheduler.RunConcurrently(
      [&]() -> std::optional<StatusTask> {
        if (started++ == kTasks) return std::nullopt;
        return ExpectText(scheduler, cache(), Page(random() % kPages));
      },
      {.in_flight = kTasks});
  EXPECT_TRUE(all.ok()) << all;
  const storage::CacheStats stats = cache().Stats();
  EXPECT_EQ(stats.pinned_frames, 0u);
  EXPECT_EQ(stats.hits + stats.misses, kTasks);
  EXPECT_GT(stats.evictions, 0u);
}

TEST_P(PageCacheAsyncLevelsTest, TasksOfSeveralThreadsAndThreadsShareLatchesAndFrames) {
  constexpr int kThreads = 3;
  constexpr size_t kTasks = 600;  // of each thread
  constexpr uint64_t kPages = 40;
  StartWithFile(16, 0);
  if (IsSkipped() || HasFailure()) return;
  for (uint64_t page = 0; page < kPages; ++page) ASSERT_TRUE(cache().Make(Page(page)).ok());
  std::atomic<int> working{kThreads};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&] {
      const auto frames = Frames(64);
      CacheProgress progress(&cache());
      TaskScheduler scheduler(frames.get(), &progress);
      size_t started = 0;
      const absl::Status all = scheduler.RunConcurrently(
          [&]() -> std::optional<StatusTask> {
            if (started++ == kTasks) return std::nullopt;
            return CountUp(scheduler, cache(), Page(started % kPages), started % 5 == 0);
          },
          {.in_flight = 64});
      EXPECT_TRUE(all.ok()) << all;
      --working;
    });
  }
  // Beside them a thread that takes the same latches, and has the pages written.
  uint64_t by_thread = 0;
  while (working > 0 && !HasFailure()) {
    const PageId page = Page(by_thread % kPages);
    WriteGuard guard = *cache().Write(page);
    uint64_t count;
    std::memcpy(&count, guard.bytes().data(), sizeof(count));
    ++count;
    std::memcpy(guard.mutable_bytes().data(), &count, sizeof(count));
    guard.Release();
    ++by_thread;
    if (by_thread % 64 != 0) continue;
    EXPECT_TRUE(cache().Flush(file_).ok());
  }
  for (std::thread& thread : threads) thread.join();
  uint64_t sum = 0;
  for (uint64_t page = 0; page < kPages; ++page) sum += CountOn(page);
  EXPECT_EQ(sum, kThreads * kTasks + by_thread);
  EXPECT_EQ(cache().Stats().pinned_frames, 0u);
}

// The scheduler sleeps in its cache's Wait; whoever wakes a task of its there must reach it.
TEST_P(PageCacheAsyncLevelsTest, GuardDroppedByAnotherThreadWakesTheTask) {
  StartWithFile(8, 4);
  if (IsSkipped() || HasFailure()) return;
  for (int round = 0; round < 50; ++round) {
    std::optional<WriteGuard> held = *cache().Write(Page(1));
    std::atomic<bool> waits{false};
    std::thread other([&] {
      while (!waits) std::this_thread::yield();
      held.reset();
    });
    const auto frames = Frames(4);
    CacheProgress progress(&cache());
    TaskScheduler scheduler(frames.get(), &progress);
    auto task = *scheduler.Spawn(ExpectText(scheduler, cache(), Page(1)));
    ASSERT_TRUE(scheduler.RunReady().ok());
    EXPECT_FALSE(task.done());
    waits = true;
    while (!task.done()) {
      ASSERT_TRUE(scheduler.RunReady().ok());
      if (!task.done() && scheduler.CountReady() == 0) {
        EXPECT_TRUE(progress.Wait(io::Deadline::Infinite()));
      }
    }
    EXPECT_TRUE(task.TakeResult().ok());
    other.join();
  }
}

}  // namespace
}  // namespace fixpool::tests
