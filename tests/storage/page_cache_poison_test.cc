// What a file whose sync has failed still does, which is to show pages that are in memory and to be
// dropped, and what it does not, which is everything else. With one thread and an engine that does
// as it is told.

#include <cerrno>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "fixpool/io/error.h"
#include "fixpool/storage/cache_progress.h"
#include "fixpool/storage/coroutine_frames.h"
#include "fixpool/storage/page_cache.h"
#include "fixpool/storage/task.h"
#include "fixpool/storage/task_scheduler.h"
#include "gtest/gtest.h"
#include "tests/storage/cache_fixture.h"

namespace fixpool::tests {
namespace {

using io::IoOperation;
using storage::Lsn;
using storage::OptimisticGuard;
using storage::PageHint;
using storage::PageId;
using storage::ReadGuard;
using storage::TaskScheduler;
using storage::WriteGuard;
using StatusTask = storage::Task<absl::Status>;

class PageCachePoisonTest : public FakeCacheTest {
 protected:
  // In memory: 1, written before the sync that failed, 2, changed after, and 3, unchanged.
  void StartPoisoned() {
    Start(8, 8);
    Change(1);
    ExpectVersion(3, 0);
    engine().Hold({.operation = IoOperation::kSync});
    ASSERT_EQ(cache().Flush(file_, absl::Seconds(1)).code(), absl::StatusCode::kDeadlineExceeded);
    Change(2);
    hint_ = cache().Read(Page(1))->hint();
    engine().Fail({.operation = IoOperation::kSync}, io::ErrnoStatus(EIO, "the test"));
    engine().ReleaseAll();
    ExpectVersion(7, 0);  // and takes the sync's completion in
    error_ = cache().Flush(file_);
    ASSERT_EQ(io::ErrnoOf(error_), EIO) << error_;
    transfers_ = Transfers();
  }
  uint64_t Transfers() {
    return engine().Count(IoOperation::kRead) + engine().Count(IoOperation::kWrite) +
           engine().Count(IoOperation::kSync);
  }
  absl::Status Await(StatusTask (*access)(TaskScheduler&, storage::PageCache&, PageId),
                     uint64_t page) {
    storage::CacheProgress progress(&cache());
    const auto frames = *storage::CoroutineFrames::Create();
    TaskScheduler scheduler(frames.get(), &progress, &environment_);
    return scheduler.Run(access(scheduler, cache(), Page(page)));
  }

  PageHint hint_;
  absl::Status error_;
  uint64_t transfers_ = 0;
};

StatusTask ReadTask(TaskScheduler&, storage::PageCache& cache, PageId page) {
  co_return (co_await cache.ReadAsync(page)).status();
}
StatusTask WriteTask(TaskScheduler&, storage::PageCache& cache, PageId page) {
  co_return (co_await cache.WriteAsync(page)).status();
}
StatusTask MakeTask(TaskScheduler&, storage::PageCache& cache, PageId page) {
  co_return (co_await cache.MakeAsync(page)).status();
}

TEST_F(PageCachePoisonTest, PagesInMemoryAreShown) {
  StartPoisoned();
  ExpectVersion(1, 1);
  ExpectVersion(2, 1);
  ExpectVersion(3, 0);
  for (uint64_t page = 1; page <= 3; ++page) {
    EXPECT_TRUE(cache().TryRead(Page(page)).has_value());
    const OptimisticGuard look = cache().TryReadOptimistic(Page(page));
    EXPECT_TRUE(look.StillValid());
    EXPECT_TRUE(cache().ReadOptimistic(Page(page)).ok());
    EXPECT_TRUE(Await(ReadTask, page).ok());
  }
  EXPECT_TRUE(cache().TryRead(hint_).has_value());
  const std::vector<PageId> pages = {Page(1), Page(2), Page(3)};
  std::vector<absl::StatusOr<ReadGuard>> guards(3);
  EXPECT_EQ(cache().ReadMany(pages, absl::MakeSpan(guards)), 3u);
  EXPECT_EQ(*cache().PageCount(file_), 8u);
  EXPECT_EQ(Transfers(), transfers_);
}

TEST_F(PageCachePoisonTest, EverythingElseReturnsTheErrorOfTheSync) {
  StartPoisoned();
  EXPECT_EQ(cache().Flush(file_), error_);
  EXPECT_EQ(cache().FlushAll(), error_);
  EXPECT_EQ(cache().Checkpoint(Lsn{~uint64_t{0}}), error_);
  EXPECT_EQ(cache().CloseFile(file_), error_);
  for (const uint64_t page : {1, 2, 3, 5, 20}) {  // in memory, on disk, past the end
    EXPECT_EQ(cache().Write(Page(page)).status(), error_);
    EXPECT_EQ(cache().Make(Page(page)).status(), error_);
    EXPECT_EQ(Await(WriteTask, page), error_);
    EXPECT_EQ(Await(MakeTask, page), error_);
    EXPECT_FALSE(cache().TryWrite(Page(page)).has_value());
  }
  EXPECT_FALSE(cache().TryWrite(hint_).has_value());
  {
    ReadGuard held = *cache().Read(Page(3));
    EXPECT_FALSE(held.TryUpgrade().has_value());
  }
  // What was evicted may or may not have been on disk.
  EXPECT_EQ(cache().Read(Page(5)).status(), error_);
  EXPECT_EQ(cache().ReadOptimistic(Page(5)).status(), error_);
  EXPECT_EQ(Await(ReadTask, 5), error_);
  EXPECT_FALSE(cache().TryRead(Page(5)).has_value());
  const PageId missing = Page(5);
  absl::StatusOr<ReadGuard> guard;
  EXPECT_EQ(cache().ReadMany({&missing, 1}, absl::MakeSpan(&guard, 1)), 0u);
  EXPECT_EQ(guard.status(), error_);
  EXPECT_EQ(cache().Prefetch({&missing, 1}).status(), error_);
  EXPECT_EQ(cache().Allocate(file_, 1).status(), error_);
  EXPECT_EQ(cache().FreePages(file_, 3, 1), error_);
  EXPECT_EQ(cache().Truncate(file_, 4), error_);
  EXPECT_EQ(cache().Truncate(file_, 8), error_);
  EXPECT_EQ(Transfers(), transfers_);
  EXPECT_EQ(*cache().PageCount(file_), 8u);
  EXPECT_EQ(ReadWholeFile(path_).size(), 8u * kPageBytes);
  ExpectVersion(2, 1);
}

TEST_F(PageCachePoisonTest, DroppedAndOpenedAgainItIsAsGoodAsNew) {
  StartPoisoned();
  {
    const ReadGuard held = *cache().Read(Page(3));
    EXPECT_EQ(cache().Drop(file_).code(), absl::StatusCode::kFailedPrecondition);
  }
  ASSERT_TRUE(cache().Drop(file_).ok());
  EXPECT_EQ(Transfers(), transfers_);
  EXPECT_EQ(cache().Read(Page(1)).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(cache().Drop(file_).code(), absl::StatusCode::kNotFound);
  file_ = *cache().OpenFile(path_);
  ExpectVersion(2, 0);  // of the change nothing has reached the disk
  Change(2, 5);
  ASSERT_TRUE(cache().Allocate(file_, 2).ok());
  ASSERT_TRUE(cache().FreePages(file_, 3, 1).ok());
  ASSERT_TRUE(cache().Flush(file_).ok());
  ASSERT_TRUE(cache().Truncate(file_, 9).ok());
  EXPECT_TRUE(ReadWholeFile(path_).substr(2 * kPageBytes, kPageBytes) == PageText(2, 5));
}

TEST_F(PageCachePoisonTest, OtherFilesGoOn) {
  StartPoisoned();
  const storage::FileId other = *cache().OpenFile(scratch_.MakeFile("other.db", FileText(4)));
  {
    WriteGuard page = *cache().Write({other, 1});
    Put(page, PageText(1, 9));
  }
  EXPECT_TRUE(cache().Allocate(other, 1).ok());
  EXPECT_TRUE(cache().Truncate(other, 3).ok());
  EXPECT_TRUE(cache().Flush(other).ok());
}

}  // namespace
}  // namespace fixpool::tests
