// Scans on the real kernel, at each level.

#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "fixpool/storage/cache_progress.h"
#include "fixpool/storage/coroutine_frames.h"
#include "fixpool/storage/page_cache.h"
#include "fixpool/storage/task.h"
#include "fixpool/storage/task_scheduler.h"
#include "gtest/gtest.h"
#include "tests/storage/level_fixture.h"

namespace fixpool::tests {
namespace {

using storage::CacheStats;
using storage::ReadGuard;
using storage::TaskScheduler;
using StatusTask = storage::Task<absl::Status>;

class PageCacheReadAheadLevelsTest : public LevelTest {
 protected:
  static constexpr uint64_t kPages = 3'000;

  void Open(uint32_t frames) {
    Start(frames);
    if (IsSkipped() || HasFailure()) return;
    file_ = *cache().OpenFile(scratch_.MakeFile("data.db", FileText(kPages)));
  }
  void Scan(uint64_t first, uint64_t end) {
    for (uint64_t page = first; page < end; ++page) {
      const absl::StatusOr<ReadGuard> guard = cache().Read(Page(page));
      ASSERT_TRUE(guard.ok()) << guard.status();
      ASSERT_TRUE(Text(guard->bytes()) == PageText(page)) << "page " << page;
    }
  }
  static StatusTask ScanByTask(TaskScheduler&, PageCacheReadAheadLevelsTest& test, uint64_t& next,
                               uint64_t end) {
    while (next < end) {
      const uint64_t page = next++;
      const absl::StatusOr<ReadGuard> guard = co_await test.cache().ReadAsync(test.Page(page));
      if (!guard.ok()) co_return guard.status();
      EXPECT_TRUE(Text(guard->bytes()) == PageText(page)) << "page " << page;
    }
    co_return absl::OkStatus();
  }
  void ExpectReadOnceEach() {
    const CacheStats stats = cache().Stats();
    EXPECT_EQ(stats.read_errors, 0u);
    EXPECT_GT(stats.read_ahead, kPages * 9 / 10) << stats.ToString();
    EXPECT_LT(stats.reads, kPages * 11 / 10) << stats.ToString();
    // Windows of 64 pages: 16 at a time.
    EXPECT_GT(stats.joined_reads, kPages / 64) << stats.ToString();
    EXPECT_LT(stats.joined_reads, kPages / 8) << stats.ToString();
  }
};
INSTANTIATE_TEST_SUITE_P(Levels, PageCacheReadAheadLevelsTest, AllLevels(), LevelName);

TEST_P(PageCacheReadAheadLevelsTest, PlainReadsOfPageAfterPage) {
  Open(1'024);
  if (IsSkipped() || HasFailure()) return;
  Scan(0, kPages);
  ExpectReadOnceEach();
}

TEST_P(PageCacheReadAheadLevelsTest, OneTaskAndManyTasks) {
  for (const uint32_t tasks : {1u, 16u}) {
    Stop();
    Open(1'024);
    if (IsSkipped() || HasFailure()) return;
    storage::CacheProgress progress(&cache());
    const auto frames = *storage::CoroutineFrames::Create({.frame_count = 16});
    TaskScheduler scheduler(frames.get(), &progress);
    uint64_t next = 0;
    uint32_t started = 0;
    const absl::Status status = scheduler.RunConcurrently(
        [&]() -> std::optional<StatusTask> {
          if (started++ == tasks) return std::nullopt;
          return ScanByTask(scheduler, *this, next, kPages);
        },
        {.in_flight = tasks});
    ASSERT_TRUE(status.ok()) << status;
    ExpectReadOnceEach();
  }
}

TEST_P(PageCacheReadAheadLevelsTest, SeveralThreadsEachItsOwnPart) {
  Open(2'048);
  if (IsSkipped() || HasFailure()) return;
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < 3; ++i) {
    threads.emplace_back([this, i] { Scan(i * kPages / 3, (i + 1) * kPages / 3); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(cache().Stats().pinned_frames, 0u);
  EXPECT_EQ(cache().Stats().read_errors, 0u);
  EXPECT_GT(cache().Stats().read_ahead, kPages / 2);
}

TEST_P(PageCacheReadAheadLevelsTest, SeveralThreadsTheSamePages) {
  Open(1'024);
  if (IsSkipped() || HasFailure()) return;
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) threads.emplace_back([this] { Scan(0, kPages); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(cache().Stats().read_errors, 0u);
}

TEST_P(PageCacheReadAheadLevelsTest, LargePagesAreReadAheadToo) {
  for (const uint32_t page_bytes : {64u << 10, 1u << 20}) {
    Stop();
    const uint32_t frames = 300;
    const uint64_t pages = (40u << 20) / page_bytes;
    FIXPOOL_START_OR_SKIP(frames, page_bytes);
    const std::string text = PatternBytes(7, pages * page_bytes - 100);
    file_ = *cache().OpenFile(scratch_.MakeFile("large" + std::to_string(page_bytes), text));
    for (uint64_t page = 0; page < pages; ++page) {
      const absl::StatusOr<ReadGuard> guard = cache().Read(Page(page));
      ASSERT_TRUE(guard.ok()) << guard.status();
      std::string expected = text.substr(page * page_bytes, page_bytes);
      expected.resize(page_bytes);
      ASSERT_TRUE(Text(guard->bytes()) == expected) << page;
    }
    EXPECT_GT(cache().Stats().read_ahead, pages / 2);
    EXPECT_EQ(cache().Stats().joined_reads > 0, page_bytes < (1u << 20));
  }
}

}  // namespace
}  // namespace fixpool::tests
