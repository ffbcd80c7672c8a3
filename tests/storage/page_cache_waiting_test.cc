// What a thread is refused because it would wait for itself or too long, with one thread and
// an engine that does as it is told.

#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "fixpool/storage/page_cache.h"
#include "gtest/gtest.h"
#include "tests/storage/cache_fixture.h"

namespace fixpool::tests {
namespace {

using storage::ReadGuard;
using storage::WriteGuard;

class PageCacheWaitingTest : public FakeCacheTest {};

TEST_F(PageCacheWaitingTest, ThreadThatHoldsAPageForWritingGetsNoOtherGuardOfIt) {
  Start(4, 4);
  const int64_t before_ns = environment_.NowNs();
  const WriteGuard held = *cache().Write(Page(1));
  for (const absl::Status& status :
       {cache().Write(Page(1)).status(), cache().Make(Page(1)).status(),
        cache().Read(Page(1)).status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "page 1 of ")) << status;
  }
  EXPECT_EQ(environment_.NowNs(), before_ns);
  EXPECT_TRUE(cache().Write(Page(2)).ok());
}

TEST_F(PageCacheWaitingTest, ThreadThatReadsAPageGetsNoWriteGuardOfIt) {
  Start(4, 4);
  const int64_t before_ns = environment_.NowNs();
  ReadGuard held = *cache().Read(Page(1));
  EXPECT_EQ(cache().Write(Page(1)).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(cache().Read(Page(1)).ok());
  held.Release();
  EXPECT_TRUE(cache().Write(Page(1)).ok());
  EXPECT_EQ(environment_.NowNs(), before_ns);
}

TEST_F(PageCacheWaitingTest, AllFramesPinnedIsResourceExhaustedAtTheDeadline) {
  Start(3, 8);
  std::vector<ReadGuard> guards;
  for (uint64_t page = 0; page < 3; ++page) guards.push_back(*cache().Read(Page(page)));
  const int64_t before_ns = environment_.NowNs();
  const absl::Status status = cache().Read(Page(3), {.timeout = absl::Seconds(5)}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(environment_.NowNs() - before_ns, 5'000'000'000);
  for (const char* part : {"page 3 of ", "of 3 frames", "3 are pinned", "0 are dirty",
                           "0 in flight", "Hold fewer guards"}) {
    EXPECT_TRUE(absl::StrContains(status.message(), part)) << status;
  }
  EXPECT_EQ(cache().Make(Page(9), {.timeout = absl::Seconds(5)}).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(*cache().PageCount(file_), 8u);
  guards.pop_back();
  ExpectVersion(3, 0);
}

TEST_F(PageCacheWaitingTest, FramesInFlightAreWaitedForWithoutSpinning) {
  Start(2, 8);
  engine().Hold({.operation = io::IoOperation::kRead});
  const std::vector<storage::PageId> pages = {Page(0), Page(1)};
  EXPECT_EQ(*cache().Prefetch(pages), 2u);
  const absl::Status status = cache().Read(Page(2), {.timeout = absl::Seconds(1)}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(absl::StrContains(status.message(), "2 in flight")) << status;
  EXPECT_LT(environment_.waits(), 2000u);
  engine().ReleaseAll();
  ExpectVersion(2, 0);
}

TEST_F(PageCacheWaitingTest, TransfersAllInFlightAreWaitedFor) {
  Start(8, 8, {.depth = 2});
  engine().Hold({.operation = io::IoOperation::kRead});
  const std::vector<storage::PageId> pages = {Page(0), Page(1)};
  EXPECT_EQ(*cache().Prefetch(pages), 2u);
  const absl::Status status = cache().Read(Page(2), {.timeout = absl::Seconds(1)}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  engine().ReleaseAll();
  ExpectVersion(2, 0);
}

TEST_F(PageCacheWaitingTest, NothingIsLeftOfAWaitThatWasGivenUp) {
  Start(2, 8);
  engine().Hold({.operation = io::IoOperation::kRead});
  for (uint64_t page = 0; page < 4; ++page) {
    EXPECT_FALSE(cache().Read(Page(page), {.timeout = absl::Seconds(1)}).ok());
    EXPECT_FALSE(cache().Write(Page(page), {.timeout = absl::ZeroDuration()}).ok());
  }
  engine().ReleaseAll();
  ExpectVersion(5, 0);
  ExpectVersion(6, 0);
  EXPECT_EQ(cache().Stats().pinned_frames, 0u);
  EXPECT_TRUE(cache().CloseFile(file_).ok());
}

TEST_F(PageCacheWaitingTest, StatsAddUp) {
  Start(8, 64, {.depth = 4});
  for (uint64_t page = 0; page < 64; ++page) {
    if (page % 3 == 0) Change(page);
    const std::vector<storage::PageId> ahead = {Page(page + 1), Page(page + 2)};
    (void)cache().Prefetch(ahead);
    const absl::StatusOr<ReadGuard> guard = cache().Read(Page(page));
    const storage::CacheStats stats = cache().Stats();
    EXPECT_EQ(stats.free_frames + stats.clean_frames + stats.dirty_frames + stats.in_flight_frames,
              stats.frame_count);
    EXPECT_EQ(stats.pinned_frames, 1u);
  }
  EXPECT_FALSE(cache().Stats().ToString().empty());
}

TEST_F(PageCacheWaitingTest, GuardsMoveAndDropSafely) {
  Start(4, 4);
  ReadGuard empty;
  EXPECT_FALSE(empty.holds_page());
  empty.Release();
  ReadGuard first = *cache().Read(Page(1));
  ReadGuard second = std::move(first);
  EXPECT_FALSE(first.holds_page());  // NOLINT(bugprone-use-after-move)
  EXPECT_TRUE(second.holds_page());
  second = *cache().Read(Page(2));
  EXPECT_EQ(second.page_id(), Page(2));
  EXPECT_EQ(cache().Stats().pinned_frames, 1u);
  ReadGuard& alias = second;
  second = std::move(alias);
  EXPECT_TRUE(second.holds_page());
  second.Release();
  second.Release();
  EXPECT_EQ(cache().Stats().pinned_frames, 0u);
  WriteGuard writer = *cache().Write(Page(1));
  WriteGuard other = std::move(writer);
  writer = std::move(other);
  EXPECT_EQ(writer.page_id(), Page(1));
}

using PageCacheWaitingDeathTest = PageCacheWaitingTest;

TEST_F(PageCacheWaitingDeathTest, GuardsThatHoldNoPage) {
  Start(4, 4);
  ReadGuard reader;
  EXPECT_DEATH((void)reader.bytes(), "holds no page: it was moved from, released");
  EXPECT_DEATH((void)reader.page_id(), "holds no page");
  WriteGuard writer = *cache().Write(Page(1));
  const WriteGuard moved = std::move(writer);
  EXPECT_DEATH((void)writer.bytes(), "holds no page");          // NOLINT
  EXPECT_DEATH((void)writer.mutable_bytes(), "holds no page");  // NOLINT
  EXPECT_DEATH((void)writer.page_id(), "holds no page");        // NOLINT
}

TEST_F(PageCacheWaitingDeathTest, GuardThatOutlivesItsCache) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a mere fork would be refused
  Start(4, 4);
  const ReadGuard guard = *cache().Read(Page(3));
  EXPECT_DEATH(stack_->cache.reset(), "died while a guard of page 3 of .*data.db was alive");
}

}  // namespace
}  // namespace fixpool::tests
