// The thread that keeps frames free.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "fixpool/storage/cache_progress.h"
#include "fixpool/storage/coroutine_frames.h"
#include "fixpool/storage/page_cache.h"
#include "fixpool/storage/task.h"
#include "fixpool/storage/task_scheduler.h"
#include "gtest/gtest.h"
#include "tests/storage/level_fixture.h"
#include "tests/support/sleeping_thread.h"

namespace fixpool::tests {
namespace {

using storage::CacheStats;
using storage::ReadGuard;
using storage::WriteGuard;

constexpr uint32_t kFrames = 64;
constexpr uint32_t kFree = 8;
constexpr uint64_t kPages = 200;

class FrameKeeperTest : public LevelTest {
 protected:
  void StartWithFile(uint32_t free_frames = kFree) {
    free_frames_ = free_frames;
    Start(kFrames);
    if (cache_ == nullptr) return;
    path_ = scratch_.MakeFile("data.db", FileText(kPages));
    file_ = *cache().OpenFile(path_);
  }
  // A cache whose keeper does nothing ends in the test's own time limit.
  CacheStats WaitForFreeFrames(uint64_t count) {
    while (true) {
      const CacheStats stats = cache().Stats();
      if (stats.free_frames >= count) return stats;
      absl::SleepFor(absl::Milliseconds(1));
    }
  }
  void Change(uint64_t page, uint64_t version) {
    WriteGuard guard = *cache().Write(Page(page));
    Put(guard, PageText(page, version));
  }
  void ExpectVersion(uint64_t page, uint64_t version) {
    const ReadGuard guard = *cache().Read(Page(page));
    EXPECT_TRUE(Text(guard.bytes()) == PageText(page, version)) << page;
  }

  std::string path_;
};
INSTANTIATE_TEST_SUITE_P(Levels, FrameKeeperTest, AllLevels(), LevelName);

TEST_P(FrameKeeperTest, PagesLeaveBeforeTheirFramesAreWanted) {
  StartWithFile();
  if (IsSkipped() || HasFailure()) return;
  for (int round = 0; round < 3; ++round) {
    for (uint64_t page = 0; page < kPages; ++page) ExpectVersion(page, 0);
    const CacheStats stats = WaitForFreeFrames(kFree);
    EXPECT_LE(stats.free_frames, 2 * kFree);
    EXPECT_GT(stats.evictions, 0u);
  }
}

TEST_P(FrameKeeperTest, DirtyPagesAreWrittenBefore) {
  StartWithFile();
  if (IsSkipped() || HasFailure()) return;
  for (uint64_t page = 0; page < kPages; ++page) Change(page, 1);
  const CacheStats stats = WaitForFreeFrames(kFree);
  EXPECT_GT(stats.eviction_writes + stats.background_writes, 0u);
  for (uint64_t page = 0; page < kPages; ++page) ExpectVersion(page, 1);
  ASSERT_TRUE(cache().Flush(file_).ok());
  std::string expected;
  for (uint64_t page = 0; page < kPages; ++page) expected += PageText(page, 1);
  EXPECT_TRUE(ReadWholeFile(path_) == expected);
}

TEST_P(FrameKeeperTest, HeldPagesStayAndMissesGoOn) {
  StartWithFile();
  if (IsSkipped() || HasFailure()) return;
  std::vector<ReadGuard> held;
  for (uint64_t page = 0; page < kFrames - 2; ++page) held.push_back(*cache().Read(Page(page)));
  for (uint64_t page = 100; page < kPages; ++page) ExpectVersion(page, 0);
  for (const ReadGuard& guard : held) {
    EXPECT_TRUE(Text(guard.bytes()) == PageText(guard.page_id().page_number));
  }
  held.clear();
  ExpectVersion(kPages - 1, 0);
  ExpectVersion(0, 0);
  ExpectVersion(99, 0);  // a miss, which calls for frames anew
  WaitForFreeFrames(kFree);
}

TEST_P(FrameKeeperTest, IsCalledAgainAfterThereWasNothingToTake) {
  StartWithFile();
  if (IsSkipped() || HasFailure()) return;
  std::vector<ReadGuard> held;
  for (uint64_t page = 0; page < kFrames; ++page) held.push_back(*cache().Read(Page(page)));
  WaitUntilOthersAreAsleep();
  EXPECT_EQ(cache().Stats().free_frames, 0u);
  held.clear();
  ExpectVersion(kPages - 1, 0);  // a miss that finds no free frame
  WaitForFreeFrames(kFree);
}

storage::Task<absl::Status> Look(storage::TaskScheduler&, storage::PageCache& cache,
                                 storage::PageId page) {
  co_return (co_await cache.ReadAsync(page)).status();
}
storage::Task<absl::Status> Nothing(storage::TaskScheduler&) { co_return absl::OkStatus(); }

// Reads of tasks that are gone, which nobody has sent to the engine, are what it waits for.
TEST_P(FrameKeeperTest, CacheEndsWhileItsKeeperWaitsForWhatNobodySent) {
  free_frames_ = 1;
  FIXPOOL_START_OR_SKIP(4);
  file_ = *cache().OpenFile(scratch_.MakeFile("data.db", FileText(8)));
  std::optional<ReadGuard> held = *cache().Read(Page(0));
  {
    const auto frames = *storage::CoroutineFrames::Create({.frame_count = 8, .frame_bytes = 2048});
    storage::CacheProgress progress(&cache());
    storage::TaskScheduler scheduler(frames.get(), &progress);
    std::vector<storage::SpawnedTask<absl::Status>> tasks;
    for (uint64_t page = 1; page < 4; ++page) {
      tasks.push_back(*scheduler.Spawn(Look(scheduler, cache(), Page(page))));
    }
    // Runs the others, too, and ends before anybody waits.
    ASSERT_TRUE(scheduler.Run(Nothing(scheduler)).ok());
  }
  WaitUntilOthersAreAsleep();
  held.reset();
  Stop();
}

TEST_P(FrameKeeperTest, TakesNoMoreThanAQuarter) {
  StartWithFile(/*free_frames=*/1000);
  if (IsSkipped() || HasFailure()) return;
  for (uint64_t page = 0; page < kPages; ++page) ExpectVersion(page, 0);
  EXPECT_LE(WaitForFreeFrames(kFrames / 4).free_frames, kFrames / 2);
}

TEST_P(FrameKeeperTest, CacheEndsWhateverItsKeeperIsAt) {
  for (int round = 0; round < 20; ++round) {
    StartWithFile();
    if (IsSkipped() || HasFailure()) return;
    for (uint64_t page = 0; page < kFrames + static_cast<uint64_t>(round); ++page) Change(page, 1);
    Stop();
  }
}

TEST_P(FrameKeeperTest, SmallCachesHaveNone) {
  free_frames_.reset();
  FIXPOOL_START_OR_SKIP(100);
  file_ = *cache().OpenFile(scratch_.MakeFile("data.db", FileText(kPages)));
  for (uint64_t page = 0; page < kPages; ++page) ExpectVersion(page, 0);
  EXPECT_EQ(cache().Stats().free_frames, 0u);
}

}  // namespace
}  // namespace fixpool::tests
