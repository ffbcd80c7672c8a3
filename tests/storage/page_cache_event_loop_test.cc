// Tasks of a page cache in a loop of the caller's own, which waits with poll(2).

#include <poll.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
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
#include "tests/storage/cache_fixture.h"
#include "tests/storage/level_fixture.h"
#include "tests/support/child_process.h"

namespace fixpool::tests {
namespace {

using storage::CacheProgress;
using storage::CoroutineFrames;
using storage::PageCache;
using storage::PageId;
using storage::ReadGuard;
using storage::Task;
using storage::TaskScheduler;
using storage::WriteGuard;

constexpr uint64_t kPages = 256;
// Beyond anything that happens unless an event is lost.
constexpr int kPatience = 60'000;

bool WaitUntilReadable(int descriptor) {
  pollfd polled{.fd = descriptor, .events = POLLIN, .revents = 0};
  return poll(&polled, 1, kPatience) == 1;
}

Task<absl::Status> ReadSome(TaskScheduler&, PageCache& cache, PageId page, int steps) {
  for (int step = 0; step < steps; ++step) {
    absl::StatusOr<ReadGuard> guard = co_await cache.ReadAsync(page);
    if (!guard.ok()) co_return guard.status();
    if (Text(guard->bytes()) != PageText(page.page_number)) co_return absl::DataLossError("wrong");
    page.page_number = (page.page_number * 7 + 13) % kPages;
  }
  co_return absl::OkStatus();
}

class PageCacheEventLoopTest : public LevelTest {
 protected:
  void StartWithFile(uint32_t frames) {
    FIXPOOL_START_OR_SKIP(frames);
    file_ = *cache().OpenFile(scratch_.MakeFile("data.db", FileText(kPages)));
  }
  // Until all tasks have ended; only what the descriptor says makes it look again.
  void Loop(TaskScheduler& scheduler, int descriptor) {
    while (scheduler.CountUnfinished() > 0) {
      ASSERT_TRUE(scheduler.RunReady().ok());
      if (scheduler.CountReady() > 0 || scheduler.CountUnfinished() == 0) continue;
      ASSERT_TRUE(WaitUntilReadable(descriptor)) << scheduler.CountUnfinished() << " tasks wait";
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Levels, PageCacheEventLoopTest, AllLevels(), LevelName);

TEST_P(PageCacheEventLoopTest, RunsTasksToTheirEnd) {
  StartWithFile(32);
  if (IsSkipped() || HasFailure()) return;
  const auto frames = *CoroutineFrames::Create({.frame_count = 64});
  CacheProgress progress(&cache());
  TaskScheduler scheduler(frames.get(), &progress);
  const absl::StatusOr<int> descriptor = progress.Descriptor();
  ASSERT_TRUE(descriptor.ok()) << descriptor.status();
  EXPECT_EQ(*progress.Descriptor(), *descriptor);
  std::vector<storage::SpawnedTask<absl::Status>> tasks;
  for (uint64_t i = 0; i < 20; ++i) {
    tasks.push_back(*scheduler.Spawn(ReadSome(scheduler, cache(), Page(i * 11 % kPages), 50)));
  }
  Loop(scheduler, *descriptor);
  for (auto& task : tasks) EXPECT_TRUE(task.TakeResult().ok());
  EXPECT_GT(cache().Stats().misses, 100u);
  EXPECT_TRUE(progress.NextDeadline().is_infinite()) << "nobody waits";
}

// Beside a thread that waits in the cache, and so takes completions in for everybody.
TEST_P(PageCacheEventLoopTest, RunsBesideThreadsThatWait) {
  StartWithFile(64);
  if (IsSkipped() || HasFailure()) return;
  std::atomic<bool> stop{false};
  std::thread other([&] {
    for (uint64_t page = 0; !stop; page = (page + 17) % kPages) {
      EXPECT_TRUE(cache().Read(Page(page)).ok());
    }
  });
  const auto frames = *CoroutineFrames::Create({.frame_count = 64});
  CacheProgress progress(&cache());
  TaskScheduler scheduler(frames.get(), &progress);
  const int descriptor = *progress.Descriptor();
  std::vector<storage::SpawnedTask<absl::Status>> tasks;
  for (uint64_t i = 0; i < 16; ++i) {
    tasks.push_back(*scheduler.Spawn(ReadSome(scheduler, cache(), Page(i * 5 % kPages), 100)));
  }
  Loop(scheduler, descriptor);
  stop = true;
  other.join();
  for (auto& task : tasks) EXPECT_TRUE(task.TakeResult().ok());
}

TEST_P(PageCacheEventLoopTest, GuardDroppedByAnotherThreadIsAnEvent) {
  StartWithFile(8);
  if (IsSkipped() || HasFailure()) return;
  const auto frames = *CoroutineFrames::Create({.frame_count = 4});
  CacheProgress progress(&cache());
  TaskScheduler scheduler(frames.get(), &progress);
  const int descriptor = *progress.Descriptor();
  for (int round = 0; round < 50; ++round) {
    std::optional<WriteGuard> held = *cache().Write(Page(1));
    auto task = *scheduler.Spawn(ReadSome(scheduler, cache(), Page(1), 1));
    ASSERT_TRUE(scheduler.RunReady().ok());
    ASSERT_FALSE(task.done());
    EXPECT_FALSE(progress.NextDeadline().is_infinite());
    std::thread other([&] { held.reset(); });
    Loop(scheduler, descriptor);
    other.join();
    EXPECT_TRUE(task.TakeResult().ok());
  }
}

TEST_P(PageCacheEventLoopTest, DescriptorIsRefusedInAForkedChild) {
  StartWithFile(8);
  if (IsSkipped() || HasFailure()) return;
  CacheProgress progress(&cache());
  const ChildResult result = RunInChild([&]() -> std::string {
    EXPECT_TRUE(absl::IsFailedPrecondition(progress.Descriptor().status()));
    EXPECT_TRUE(progress.NextDeadline().is_infinite());
    return std::string();
  });
  EXPECT_EQ(result.outcome, ChildResult::Outcome::kPassed) << result.reason;
}

class PageCacheEventLoopFakeTest : public FakeCacheTest {};

TEST_F(PageCacheEventLoopFakeTest, EngineWithoutADescriptorIsUnimplemented) {
  Start(4, 8);
  CacheProgress progress(&cache());
  EXPECT_TRUE(absl::IsUnimplemented(progress.Descriptor().status()));
}

}  // namespace
}  // namespace fixpool::tests
