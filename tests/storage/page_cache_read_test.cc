// Reading through a cache, with one thread and an engine that does as it is told.

#include <vector>

#include "fixpool/io/error.h"
#include "fixpool/storage/page_cache.h"
#include "gtest/gtest.h"
#include "tests/storage/cache_fixture.h"

namespace fixpool::tests {
namespace {

using io::IoOperation;
using storage::PageId;
using storage::ReadGuard;

class PageCacheReadTest : public FakeCacheTest {};

TEST_F(PageCacheReadTest, ReadsEachPageOnceAndThenFromMemory) {
  Start(/*frames=*/8, /*pages=*/4);
  for (int round = 0; round < 3; ++round) {
    for (uint64_t page = 0; page < 4; ++page) ExpectVersion(page, 0);
  }
  EXPECT_EQ(engine().Count(IoOperation::kRead), 4u);
  const storage::CacheStats stats = cache().Stats();
  EXPECT_EQ(stats.misses, 4u);
  EXPECT_EQ(stats.hits, 8u);
  EXPECT_EQ(stats.reads, 4u);
  EXPECT_EQ(stats.clean_frames, 4u);
  EXPECT_EQ(stats.free_frames, 4u);
  EXPECT_EQ(stats.pinned_frames, 0u);
}

TEST_F(PageCacheReadTest, GuardNamesItsPageAndPinsIt) {
  Start(2, 8);
  absl::StatusOr<ReadGuard> page = cache().Read(Page(3));
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_EQ(page->page_id(), Page(3));
  EXPECT_EQ(page->bytes().size(), kPageBytes);
  EXPECT_EQ(cache().Stats().pinned_frames, 1u);
  for (uint64_t other = 4; other < 8; ++other) ExpectVersion(other, 0);
  EXPECT_TRUE(Text(page->bytes()) == PageText(3));
  page->Release();
  EXPECT_EQ(cache().Stats().pinned_frames, 0u);
}

TEST_F(PageCacheReadTest, ManyGuardsOfOnePageShareIt) {
  Start(1, 2);
  std::vector<ReadGuard> guards;
  for (int i = 0; i < 5; ++i) guards.push_back(*cache().Read(Page(1)));
  EXPECT_EQ(guards.front().bytes().data(), guards.back().bytes().data());
  EXPECT_EQ(cache().Stats().pinned_frames, 1u);
  guards.clear();
  EXPECT_EQ(cache().Stats().pinned_frames, 0u);
}

TEST_F(PageCacheReadTest, EvictsCleanPagesWhenFramesRunOut) {
  Start(4, 32);
  for (uint64_t page = 0; page < 32; ++page) ExpectVersion(page, 0);
  EXPECT_EQ(cache().Stats().evictions, 28u);
  EXPECT_EQ(engine().Count(IoOperation::kWrite), 0u);
}

TEST_F(PageCacheReadTest, PastTheEndIsOutOfRange) {
  Start(4, 3);
  EXPECT_EQ(cache().Read(Page(3)).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(cache().Read(Page(~uint64_t{0})).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(engine().Count(IoOperation::kRead), 0u);
}

TEST_F(PageCacheReadTest, UnknownFilesAreNotFound) {
  Start(4, 3);
  EXPECT_EQ(cache().Read(PageId{}).status().code(), absl::StatusCode::kNotFound);
  const storage::FileId stale(file_.slot(), file_.generation() + 1);
  const storage::FileId wild(12345, file_.generation());
  for (const storage::FileId file : {stale, wild}) {
    EXPECT_EQ(cache().Read({file, 0}).status().code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(cache().Write({file, 0}).status().code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(cache().Make({file, 0}).status().code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(cache().Flush(file).code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(cache().PageCount(file).status().code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(cache().CloseFile(file).code(), absl::StatusCode::kNotFound);
    const PageId page{file, 0};
    EXPECT_EQ(cache().Prefetch({&page, 1}).status().code(), absl::StatusCode::kNotFound);
  }
}

TEST_F(PageCacheReadTest, FailedReadPublishesNothingAndTheNextReadsAnew) {
  Start(4, 3);
  engine().Fail({.operation = IoOperation::kRead}, io::ErrnoStatus(EIO, "the test"));
  const absl::Status failed = cache().Read(Page(1)).status();
  EXPECT_EQ(failed.code(), absl::StatusCode::kUnavailable) << failed;
  EXPECT_EQ(io::ErrnoOf(failed), EIO);
  storage::CacheStats stats = cache().Stats();
  EXPECT_EQ(stats.read_errors, 1u);
  EXPECT_EQ(stats.free_frames, 4u);
  ExpectVersion(1, 0);
  EXPECT_EQ(engine().Count(IoOperation::kRead, kPageBytes), 2u);
}

TEST_F(PageCacheReadTest, FailedReadOfAnEvictionLosesNoFrame) {
  Start(2, 8);
  engine().Fail({.operation = IoOperation::kRead}, io::ErrnoStatus(EIO, "the test"),
                FakeEngine::kAlways);
  for (uint64_t page = 0; page < 8; ++page) EXPECT_FALSE(cache().Read(Page(page)).ok());
  EXPECT_EQ(cache().Stats().free_frames, 2u);
  engine().FailNothing();
  for (uint64_t page = 0; page < 8; ++page) ExpectVersion(page, 0);
}

TEST_F(PageCacheReadTest, DeadlineEndsTheWaitButNotTheRead) {
  Start(4, 3);
  engine().Hold({.operation = IoOperation::kRead});
  const int64_t before_ns = environment_.NowNs();
  EXPECT_EQ(cache().Read(Page(1), {.timeout = absl::Seconds(7)}).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(environment_.NowNs() - before_ns, 7'000'000'000);
  EXPECT_EQ(cache().Stats().in_flight_frames, 1u);
  EXPECT_EQ(cache().Stats().pinned_frames, 0u);
  engine().ReleaseAll();
  ExpectVersion(1, 0);
  EXPECT_EQ(engine().Count(IoOperation::kRead), 1u);
}

TEST_F(PageCacheReadTest, DefaultDeadlineIsThatOfTheOptions) {
  Start(4, 3);
  engine().Hold({.operation = IoOperation::kRead});
  const int64_t before_ns = environment_.NowNs();
  EXPECT_EQ(cache().Read(Page(1)).status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(environment_.NowNs() - before_ns, 30'000'000'000);
  engine().ReleaseAll();
}

TEST_F(PageCacheReadTest, WithoutTimeOnlyPagesInMemoryCanBeHad) {
  Start(4, 3);
  constexpr storage::AccessOptions kTry{.timeout = absl::ZeroDuration()};
  EXPECT_EQ(cache().Read(Page(1), kTry).status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(engine().Count(IoOperation::kRead), 1u);
  ExpectVersion(1, 0);
  EXPECT_TRUE(cache().Read(Page(1), kTry).ok());
}

TEST_F(PageCacheReadTest, EndOfFileInsideAPageReadsAsZeros) {
  path_ = scratch_.MakeFile("short.db", FileText(2).substr(0, kPageBytes + 1000));
  stack_.emplace(&environment_, 2);
  file_ = *cache().OpenFile(path_);
  EXPECT_EQ(*cache().PageCount(file_), 2u);
  const ReadGuard page = *cache().Read(Page(1));
  EXPECT_TRUE(Text(page.bytes()) ==
              PageText(1).substr(0, 1000) + std::string(kPageBytes - 1000, '\0'));
}

TEST_F(PageCacheReadTest, PrefetchReadsAllMissesInOneSubmit) {
  Start(8, 8);
  ExpectVersion(2, 0);
  const uint64_t submits = engine().submits();
  const std::vector<PageId> pages = {Page(0), Page(1), Page(2), Page(3), Page(1), Page(99)};
  absl::StatusOr<size_t> started = cache().Prefetch(pages);
  ASSERT_TRUE(started.ok()) << started.status();
  EXPECT_EQ(*started, 3u);
  EXPECT_EQ(engine().submits() - submits, 1u);
  EXPECT_EQ(cache().Stats().in_flight_frames, 3u);
  EXPECT_EQ(cache().Stats().prefetches, 3u);
  for (const uint64_t page : {0, 1, 3}) ExpectVersion(page, 0);
  EXPECT_EQ(engine().Count(IoOperation::kRead), 4u);
}

TEST_F(PageCacheReadTest, PrefetchStopsWhereFramesOrTheEngineEnd) {
  Start(8, 100, {.depth = 4});
  std::vector<PageId> pages;
  for (uint64_t page = 0; page < 100; ++page) pages.push_back(Page(page));
  engine().Hold({.operation = IoOperation::kRead});
  EXPECT_EQ(*cache().Prefetch(pages), 4u);
  EXPECT_EQ(*cache().Prefetch(pages), 0u);
  engine().ReleaseAll();
  EXPECT_EQ(*cache().Prefetch(pages), 4u);
  // Guards on all frames: nothing can be read ahead, and that is no error.
  std::vector<ReadGuard> guards;
  for (uint64_t page = 0; page < 8; ++page) guards.push_back(*cache().Read(Page(page)));
  EXPECT_EQ(*cache().Prefetch(absl::MakeSpan(pages).subspan(8)), 0u);
}

TEST_F(PageCacheReadTest, PrefetchOfMoreThanABatchGoesOnInSeveral) {
  Start(256, 200, {.depth = 256});
  std::vector<PageId> pages;
  for (uint64_t page = 0; page < 200; ++page) pages.push_back(Page(page));
  EXPECT_EQ(*cache().Prefetch(pages), 200u);
  EXPECT_LE(engine().submits(), 4u);
  for (uint64_t page = 0; page < 200; ++page) ExpectVersion(page, 0);
  EXPECT_EQ(engine().Count(IoOperation::kRead), 200u);
}

TEST_F(PageCacheReadTest, FailedPrefetchIsNotRememberedAgainstThePage) {
  Start(4, 4);
  engine().Fail({.operation = IoOperation::kRead}, io::ErrnoStatus(EIO, "the test"));
  const PageId page = Page(2);
  EXPECT_EQ(*cache().Prefetch({&page, 1}), 1u);
  EXPECT_EQ(*cache().Prefetch({}), 0u);  // takes in what has ended
  EXPECT_EQ(cache().Stats().read_errors, 1u);
  EXPECT_EQ(cache().Stats().free_frames, 4u);
  ExpectVersion(2, 0);
}

TEST_F(PageCacheReadTest, OrderOfCompletionsDoesNotMatter) {
  Start(16, 16, {.depth = 16, .last_in_first_out = true});
  std::vector<PageId> pages;
  for (uint64_t page = 0; page < 16; ++page) pages.push_back(Page(page));
  EXPECT_EQ(*cache().Prefetch(pages), 16u);
  for (uint64_t page = 0; page < 16; ++page) ExpectVersion(page, 0);
}

TEST_F(PageCacheReadTest, EngineThatTakesLessThanItSaysIsTriedAgain) {
  Start(8, 8);
  engine().TakeAtMost(2);
  engine().BeFull(3);
  const std::vector<PageId> pages = {Page(0), Page(1), Page(2), Page(3), Page(4)};
  EXPECT_EQ(*cache().Prefetch(pages), 5u);
  for (uint64_t page = 0; page < 5; ++page) ExpectVersion(page, 0);
}

TEST_F(PageCacheReadTest, DepthThatShrinksIsKept) {
  Start(16, 16, {.depth = 16});
  std::vector<PageId> pages;
  for (uint64_t page = 0; page < 16; ++page) pages.push_back(Page(page));
  engine().Hold({.operation = IoOperation::kRead});
  EXPECT_EQ(*cache().Prefetch(absl::MakeSpan(pages).first(8)), 8u);
  engine().LowerDepth(2);
  EXPECT_EQ(*cache().Prefetch(pages), 0u);
  engine().ReleaseAll();
  EXPECT_EQ(*cache().Prefetch(pages), 2u);
  for (uint64_t page = 0; page < 16; ++page) ExpectVersion(page, 0);
}

TEST_F(PageCacheReadTest, EngineThatTakesNothingIsGivenUpInTime) {
  Start(8, 8);
  engine().BeFull(1'000'000'000);
  const absl::Status status = cache().Read(Page(1)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_EQ(cache().Stats().free_frames, 8u);
  engine().BeFull(0);
  ExpectVersion(1, 0);
}

TEST_F(PageCacheReadTest, RefusedRequestIsAnErrorOfItsPageAlone) {
  Start(8, 8);
  engine().RefuseNext(absl::NotFoundError("no such region"));
  const std::vector<PageId> pages = {Page(0), Page(1), Page(2)};
  EXPECT_EQ(*cache().Prefetch(pages), 3u);
  EXPECT_EQ(cache().Stats().read_errors, 1u);
  for (uint64_t page = 0; page < 3; ++page) ExpectVersion(page, 0);
}

TEST_F(PageCacheReadTest, StaleHandleOfAFrameNeverReachesTheEngine) {
  Start(1, 3);
  ExpectVersion(0, 0);
  // Frees the cache's page behind its back: all handles of the first generations.
  arena::PageArena& arena = *stack_->arena;
  const io::RegionId region = arena.Report().regions.front().id;
  absl::Status freed = absl::UnknownError("never tried");
  uint32_t generation = 0;
  while (!freed.ok() && generation < 100) {
    freed = arena.Free({.region = region, .page_index = 0, .generation = ++generation});
  }
  ASSERT_TRUE(freed.ok()) << freed;
  const uint64_t reads = engine().Count(IoOperation::kRead);
  const absl::Status refused = cache().Read(Page(1)).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition) << refused;
  EXPECT_EQ(io::ValidationErrorOf(refused), io::ValidationError::kStaleGeneration);
  EXPECT_EQ(engine().Count(IoOperation::kRead), reads);
}

}  // namespace
}  // namespace fixpool::tests
