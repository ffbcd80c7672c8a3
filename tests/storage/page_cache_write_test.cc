// Changing pages, evicting and flushing them, with one thread and an engine that does as it
// is told.

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "fixpool/io/error.h"
#include "fixpool/storage/page_cache.h"
#include "gtest/gtest.h"
#include "tests/storage/cache_fixture.h"

namespace fixpool::tests {
namespace {

using io::IoOperation;
using storage::ReadGuard;
using storage::WriteGuard;

absl::Status Errno(int number) { return io::ErrnoStatus(number, "the test"); }

class PageCacheWriteTest : public FakeCacheTest {
 protected:
  // What the file itself holds, past the cache.
  std::string PageOnDisk(uint64_t page_number) {
    const std::string all = ReadWholeFile(path_);
    return page_number * kPageBytes < all.size() ? all.substr(page_number * kPageBytes, kPageBytes)
                                                 : "";
  }
};

TEST_F(PageCacheWriteTest, OnlyMutableBytesMakeAPageDirty) {
  Start(4, 4);
  {
    WriteGuard page = *cache().Write(Page(1));
    EXPECT_TRUE(Text(page.bytes()) == PageText(1));
    EXPECT_EQ(cache().Stats().dirty_frames, 0u);
  }
  EXPECT_EQ(cache().Stats().dirty_frames, 0u);
  {
    WriteGuard page = *cache().Write(Page(1));
    (void)page.mutable_bytes();
    (void)page.mutable_bytes();
    EXPECT_EQ(cache().Stats().dirty_frames, 1u);
  }
  EXPECT_EQ(cache().Stats().dirty_frames, 1u);
  EXPECT_EQ(engine().Count(IoOperation::kWrite), 0u);
}

TEST_F(PageCacheWriteTest, FlushWritesDirtyPagesInOrderAndSyncsOnce) {
  Start(8, 8);
  for (const uint64_t page : {5, 1, 3}) Change(page);
  ExpectVersion(0, 0);
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_EQ(engine().Offsets(IoOperation::kWrite),
            (std::vector<uint64_t>{1 * kPageBytes, 3 * kPageBytes, 5 * kPageBytes}));
  EXPECT_EQ(engine().Count(IoOperation::kSync), 1u);
  for (const uint64_t page : {1, 3, 5}) EXPECT_TRUE(PageOnDisk(page) == PageText(page, 1));
  const storage::CacheStats stats = cache().Stats();
  EXPECT_EQ(stats.dirty_frames, 0u);
  EXPECT_EQ(stats.writes, 3u);
  EXPECT_EQ(stats.syncs, 1u);
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_EQ(engine().Count(IoOperation::kWrite), 3u);
}

TEST_F(PageCacheWriteTest, FlushOfMorePagesThanTheEngineTakes) {
  Start(64, 64, {.depth = 4, .last_in_first_out = true});
  for (uint64_t page = 0; page < 64; ++page) Change(page);
  ASSERT_TRUE(cache().Flush(file_).ok());
  for (uint64_t page = 0; page < 64; ++page) EXPECT_TRUE(PageOnDisk(page) == PageText(page, 1));
}

TEST_F(PageCacheWriteTest, WorksWithADepthOfOne) {
  Start(2, 16, {.depth = 1});
  for (uint64_t page = 0; page < 16; ++page) Change(page);
  for (uint64_t page = 0; page < 16; ++page) ExpectVersion(page, 1);
  ASSERT_TRUE(cache().FlushAll().ok());
  for (uint64_t page = 0; page < 16; ++page) EXPECT_TRUE(PageOnDisk(page) == PageText(page, 1));
}

TEST_F(PageCacheWriteTest, DirtyPagesAreWrittenBeforeTheyGiveWay) {
  Start(4, 32);
  for (uint64_t page = 0; page < 32; ++page) Change(page);
  for (uint64_t page = 0; page < 32; ++page) ExpectVersion(page, 1);
  EXPECT_EQ(engine().Count(IoOperation::kSync), 0u);
  EXPECT_GT(cache().Stats().eviction_writes, 0u);
}

TEST_F(PageCacheWriteTest, MissDoesNotWaitForAWriteWhileThereIsACleanPage) {
  Start(4, 16);
  for (const uint64_t page : {0, 1, 2}) Change(page);
  ExpectVersion(3, 0);
  engine().Hold({.operation = IoOperation::kWrite});
  const uint64_t waits = environment_.waits();
  ExpectVersion(4, 0);
  ExpectVersion(5, 0);
  ExpectVersion(6, 0);
  EXPECT_EQ(environment_.waits(), waits);
  EXPECT_GT(engine().in_flight(), 0u);
  engine().ReleaseAll();
}

TEST_F(PageCacheWriteTest, PageBeingWrittenCanBeReadButNotChanged) {
  Start(4, 4);
  Change(1);
  engine().Hold({.operation = IoOperation::kWrite});
  EXPECT_EQ(cache().Flush(file_, absl::Seconds(1)).code(), absl::StatusCode::kDeadlineExceeded);
  ExpectVersion(1, 1);
  EXPECT_EQ(cache().Write(Page(1), {.timeout = absl::Seconds(1)}).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(cache().Make(Page(1), {.timeout = absl::Seconds(1)}).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(cache().Stats().in_flight_frames, 1u);
  engine().ReleaseAll();
  Change(1, 2);
  ExpectVersion(1, 2);
}

TEST_F(PageCacheWriteTest, WritePastTheEndMakesThePage) {
  Start(4, 2);
  {
    WriteGuard page = *cache().Write(Page(5));
    EXPECT_TRUE(Text(page.bytes()) == std::string(kPageBytes, '\0'));
  }
  EXPECT_EQ(*cache().PageCount(file_), 6u);
  EXPECT_EQ(cache().Stats().made, 1u);
  EXPECT_EQ(cache().Stats().dirty_frames, 1u);
  EXPECT_EQ(engine().Count(IoOperation::kRead), 0u);
  // Nobody made these: they are holes.
  EXPECT_TRUE(Text(cache().Read(Page(3))->bytes()) == std::string(kPageBytes, '\0'));
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_EQ(ReadWholeFile(path_).size(), 6u * kPageBytes);
}

TEST_F(PageCacheWriteTest, MakeReplacesWithoutReading) {
  Start(4, 4);
  Change(2);
  for (const uint64_t page : {1, 2, 7}) {
    WriteGuard made = *cache().Make(Page(page));
    EXPECT_TRUE(Text(made.bytes()) == std::string(kPageBytes, '\0'));
  }
  EXPECT_EQ(engine().Count(IoOperation::kRead, kPageBytes), 0u);
  ASSERT_TRUE(cache().Flush(file_).ok());
  for (const uint64_t page : {1, 2, 7}) {
    EXPECT_TRUE(PageOnDisk(page) == std::string(kPageBytes, '\0'));
  }
  EXPECT_TRUE(PageOnDisk(3) == PageText(3));
}

TEST_F(PageCacheWriteTest, MakeDoesNotCareForAReadThatFails) {
  Start(4, 4);
  const storage::PageId page = Page(2);
  engine().Fail({.operation = IoOperation::kRead}, Errno(EIO), FakeEngine::kAlways);
  ASSERT_EQ(*cache().Prefetch({&page, 1}), 1u);
  const absl::StatusOr<WriteGuard> made = cache().Make(page);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_TRUE(Text(made->bytes()) == std::string(kPageBytes, '\0'));
  EXPECT_EQ(engine().Count(IoOperation::kRead), 1u);
}

TEST_F(PageCacheWriteTest, PageNumbersThatNoFileCanHaveAreOutOfRange) {
  Start(4, 4);
  for (const uint64_t page : {~uint64_t{0}, (uint64_t{1} << 63) / kPageBytes}) {
    EXPECT_EQ(cache().Write(Page(page)).status().code(), absl::StatusCode::kOutOfRange);
    EXPECT_EQ(cache().Make(Page(page)).status().code(), absl::StatusCode::kOutOfRange);
  }
  EXPECT_EQ(*cache().PageCount(file_), 4u);
}

TEST_F(PageCacheWriteTest, FailedWriteKeepsThePageDirtyAndFlushTriesAgain) {
  for (const int number : {EIO, ENOSPC}) {
    Start(8, 8);
    for (const uint64_t page : {1, 2, 3}) Change(page);
    engine().Fail({.operation = IoOperation::kWrite, .offset_bytes = 2 * kPageBytes},
                  Errno(number));
    const absl::Status failed = cache().Flush(file_);
    EXPECT_EQ(io::ErrnoOf(failed), number) << failed;
    EXPECT_EQ(engine().Count(IoOperation::kSync), 0u);
    storage::CacheStats stats = cache().Stats();
    EXPECT_EQ(stats.write_errors, 1u);
    EXPECT_EQ(stats.dirty_frames, 1u);
    EXPECT_EQ(stats.failing_frames, 1u);
    EXPECT_TRUE(environment_.Heard("page 2 of "));
    ExpectVersion(2, 1);
    ASSERT_TRUE(cache().Flush(file_).ok());
    EXPECT_EQ(cache().Stats().failing_frames, 0u);
    for (const uint64_t page : {1, 2, 3}) EXPECT_TRUE(PageOnDisk(page) == PageText(page, 1));
    ASSERT_TRUE(cache().CloseFile(file_).ok());
  }
}

TEST_F(PageCacheWriteTest, EvictorLeavesFailingPagesAloneWhileOthersCanGo) {
  Start(4, 64);
  Change(0);
  engine().Fail({.operation = IoOperation::kWrite, .offset_bytes = 0}, Errno(EIO),
                FakeEngine::kAlways);
  for (uint64_t page = 1; page < 64; ++page) ExpectVersion(page, 0);
  EXPECT_EQ(engine().Count(IoOperation::kWrite, 0), 1u);
  EXPECT_EQ(cache().Stats().failing_frames, 1u);
  ExpectVersion(0, 1);
}

TEST_F(PageCacheWriteTest, WithNothingButFailingPagesTheEvictorTriesNowAndThen) {
  Start(2, 8);
  Change(0);
  Change(1);
  engine().Fail({.operation = IoOperation::kWrite}, Errno(ENOSPC), FakeEngine::kAlways);
  const absl::Status status = cache().Read(Page(2)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "cannot be written")) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "ENOSPC")) << status;
  // 30 s with pauses of up to a second, for two pages.
  EXPECT_GT(engine().Count(IoOperation::kWrite), 10u);
  EXPECT_LT(engine().Count(IoOperation::kWrite), 200u);
  EXPECT_LT(environment_.waits(), 1000u);
  engine().FailNothing();
  ExpectVersion(2, 0);
  ExpectVersion(0, 1);
  ExpectVersion(1, 1);
}

TEST_F(PageCacheWriteTest, FailingPagesThatAreHeldDoNotMakeItSpin) {
  Start(2, 8);
  Change(0);
  Change(1);
  engine().Fail({.operation = IoOperation::kWrite}, Errno(EIO), FakeEngine::kAlways);
  EXPECT_FALSE(cache().Flush(file_).ok());
  const ReadGuard first = *cache().Read(Page(0));
  const ReadGuard second = *cache().Read(Page(1));
  EXPECT_EQ(cache().Read(Page(2)).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_LT(environment_.waits(), 10'000u);
}

TEST_F(PageCacheWriteTest, FlushJoinsAWriteOfTheEvictorAndRetriesItOnce) {
  Start(2, 8);
  Change(0);
  ExpectVersion(1, 0);
  engine().Hold({.operation = IoOperation::kWrite});
  engine().Fail({.operation = IoOperation::kWrite}, Errno(EIO), 1);
  ExpectVersion(2, 0);  // starts the write of page 0
  ASSERT_EQ(engine().Count(IoOperation::kWrite), 1u);
  engine().ReleaseAll();
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_EQ(engine().Count(IoOperation::kWrite), 2u);
  EXPECT_TRUE(PageOnDisk(0) == PageText(0, 1));
}

// It may have begun before the last write ended, and then says nothing about it.
TEST_F(PageCacheWriteTest, FlushDoesNotTrustASyncThatIsInFlight) {
  Start(4, 8);
  Change(1);
  engine().Hold({.operation = IoOperation::kSync});
  EXPECT_EQ(cache().Flush(file_, absl::Seconds(1)).code(), absl::StatusCode::kDeadlineExceeded);
  Change(2);
  EXPECT_EQ(cache().Flush(file_, absl::Seconds(1)).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(PageOnDisk(2) == PageText(2, 1));
  EXPECT_EQ(engine().Count(IoOperation::kSync), 1u);
  engine().ReleaseAll();
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_EQ(engine().Count(IoOperation::kSync), 2u);
}

TEST_F(PageCacheWriteTest, FailedSyncPoisonsTheFile) {
  Start(4, 8);
  Change(1);
  Change(2);
  engine().Fail({.operation = IoOperation::kSync}, Errno(EIO));
  const absl::Status first = cache().Flush(file_);
  EXPECT_EQ(io::ErrnoOf(first), EIO) << first;
  EXPECT_EQ(cache().Stats().sync_errors, 1u);
  EXPECT_TRUE(environment_.Heard("takes no more writes"));
  // The disk is well again, and it does not matter.
  EXPECT_EQ(cache().Flush(file_), first);
  EXPECT_EQ(cache().FlushAll(), first);
  EXPECT_EQ(cache().Write(Page(1)).status(), first);
  EXPECT_EQ(cache().Make(Page(1)).status(), first);
  EXPECT_EQ(cache().Make(Page(77)).status(), first);
  ExpectVersion(1, 1);
  EXPECT_EQ(cache().Read(Page(5)).status(), first);
  const storage::PageId page = Page(5);
  EXPECT_EQ(cache().Prefetch({&page, 1}).status(), first);
  EXPECT_EQ(engine().Count(IoOperation::kSync), 1u);
  // Until it is opened anew.
  EXPECT_EQ(cache().CloseFile(file_), first);
  ExpectVersion(2, 1);
  ASSERT_TRUE(cache().CloseFile(file_, {.discard_changes = true}).ok());
  file_ = *cache().OpenFile(path_);
  Change(1, 5);
  ASSERT_TRUE(cache().Flush(file_).ok());
}

TEST_F(PageCacheWriteTest, PrefetchThatTakesInTheFailedSyncReadsNothing) {
  Start(4, 8);
  Change(0);
  engine().Hold({.operation = IoOperation::kSync});
  engine().Fail({.operation = IoOperation::kSync}, Errno(EIO));
  EXPECT_TRUE(absl::IsDeadlineExceeded(cache().Flush(file_, absl::Milliseconds(1))));
  engine().ReleaseAll();
  const storage::PageId page = Page(5);
  const absl::StatusOr<size_t> started = cache().Prefetch({&page, 1});
  ASSERT_TRUE(started.ok()) << started.status();
  EXPECT_EQ(*started, 0u);
  EXPECT_EQ(engine().Count(IoOperation::kRead, 5 * kPageBytes), 0u);
  EXPECT_FALSE(cache().Prefetch({&page, 1}).ok());
}

TEST_F(PageCacheWriteTest, PoisonedFileDoesNotStopOthers) {
  Start(4, 8);
  const std::string other_path = scratch_.MakeFile("other.db", FileText(2));
  const storage::FileId other = *cache().OpenFile(other_path);
  Change(1);
  engine().Fail({.operation = IoOperation::kSync}, Errno(EIO));
  EXPECT_FALSE(cache().Flush(file_).ok());
  {
    WriteGuard page = *cache().Write({other, 1});
    Put(page, PageText(1, 9));
  }
  EXPECT_FALSE(cache().FlushAll().ok());
  EXPECT_TRUE(ReadWholeFile(other_path).substr(kPageBytes) == PageText(1, 9));
}

TEST_F(PageCacheWriteTest, DirtyPagesOfAPoisonedFileAreNeitherWrittenNorEvicted) {
  Start(3, 8);
  const storage::FileId other = *cache().OpenFile(scratch_.MakeFile("other.db", FileText(8)));
  Change(1);
  {
    // Dirty again, and held while the sync fails.
    engine().Hold({.operation = IoOperation::kSync});
    EXPECT_EQ(cache().Flush(file_, absl::Seconds(1)).code(), absl::StatusCode::kDeadlineExceeded);
    Change(1, 2);
    engine().Fail({.operation = IoOperation::kSync}, Errno(EIO));
    engine().ReleaseAll();
    EXPECT_FALSE(cache().Flush(file_).ok());
  }
  const uint64_t writes = engine().Count(IoOperation::kWrite);
  for (uint64_t page = 0; page < 8; ++page) EXPECT_TRUE(cache().Read({other, page}).ok());
  EXPECT_EQ(engine().Count(IoOperation::kWrite), writes);
  ExpectVersion(1, 2);
}

TEST_F(PageCacheWriteTest, FlushWaitsForAGuardOfAnotherAndRefusesItsOwn) {
  Start(4, 4);
  Change(1);
  WriteGuard held = *cache().Write(Page(2));
  EXPECT_EQ(cache().Flush(file_).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(cache().FlushAll().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(engine().Count(IoOperation::kWrite), 0u);
  held.Release();
  const ReadGuard reader = *cache().Read(Page(1));
  EXPECT_TRUE(cache().Flush(file_).ok());
}

TEST_F(PageCacheWriteTest, StaleHandleOfADirtyFrameNeverReachesTheEngine) {
  Start(1, 3);
  Change(0);
  arena::PageArena& arena = *stack_->arena;
  const io::RegionId region = arena.Report().regions.front().id;
  absl::Status freed = absl::UnknownError("never tried");
  uint32_t generation = 0;
  while (!freed.ok() && generation < 100) {
    freed = arena.Free({.region = region, .page_index = 0, .generation = ++generation});
  }
  ASSERT_TRUE(freed.ok()) << freed;
  const absl::Status refused = cache().Flush(file_);
  EXPECT_EQ(io::ValidationErrorOf(refused), io::ValidationError::kStaleGeneration) << refused;
  EXPECT_EQ(cache().Stats().dirty_frames, 1u);
  EXPECT_EQ(engine().Count(IoOperation::kWrite), 0u);
}

TEST_F(PageCacheWriteTest, DestructorWritesNothingAndSaysWhatIsLost) {
  Start(4, 4);
  Change(1);
  Change(2);
  stack_->cache.reset();
  EXPECT_TRUE(environment_.Heard("2 changed pages of "));
  EXPECT_TRUE(PageOnDisk(1) == PageText(1));
  EXPECT_EQ(stack_->arena->free_count(), stack_->arena->page_count());
}

TEST_F(PageCacheWriteTest, DestructorWaitsForTransfersWithABound) {
  Start(4, 4);
  Change(1);
  engine().Hold({.operation = IoOperation::kWrite});
  EXPECT_FALSE(cache().Flush(file_, absl::Seconds(1)).ok());
  stack_->cache.reset();
  EXPECT_TRUE(environment_.Heard("1 transfers in flight"));
  EXPECT_EQ(stack_->arena->free_count() + 1, stack_->arena->page_count());
  engine().ReleaseAll();
  io::IoCompletion completion;
  EXPECT_EQ(engine().Reap({&completion, 1}, io::Deadline::Past()), 1u);
}

}  // namespace
}  // namespace fixpool::tests
