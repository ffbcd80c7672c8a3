// Writing in the background: how much, in which order, and who waits for it. The steps are run by
// the test, on an engine that does as it is told.

#include "fixpool/storage/page_writer.h"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "absl/status/status.h"
#include "fixpool/io/error.h"
#include "fixpool/storage/background_work.h"
#include "fixpool/storage/cache_progress.h"
#include "fixpool/storage/coroutine_frames.h"
#include "fixpool/storage/task.h"
#include "fixpool/storage/task_scheduler.h"
#include "gtest/gtest.h"
#include "tests/storage/cache_fixture.h"

namespace fixpool::tests {
namespace {

using io::IoOperation;
using storage::BackgroundWork;
using storage::ReadGuard;
using storage::RunWriter;
using storage::WriteGuard;

class PageWriterTest : public FakeCacheTest {
 protected:
  static constexpr uint32_t kFrames = 256;
  static constexpr uint64_t kPages = 2048;

  void StartInBackground(double dirty_share, FakeEngine::Options options = {.depth = 16}) {
    StartWith({.frame_count = kFrames,
               .free_frames = 2,
               .background_thread = false,
               .dirty_share = dirty_share},
              kPages, options);
    background_.emplace(&cache());
  }
  // As often as it has something to do, without anything ending meanwhile.
  void RunSteps() {
    while (background_->Step()) {
    }
  }
  // Takes in what has ended.
  void Reap() {
    storage::CacheProgress progress(&cache());
    progress.Poll();
  }
  void WriteAll() {
    RunSteps();
    for (int i = 0; i < 1000 && engine().in_flight() > 0; ++i) {
      Reap();
      RunSteps();
    }
  }
  uint64_t Writes() { return engine().Count(IoOperation::kWrite); }
  uint64_t Dirty() { return cache().Stats().dirty_frames; }

  std::optional<BackgroundWork> background_;
};

TEST_F(PageWriterTest, NothingIsWrittenBelowTheMark) {
  StartInBackground(0.25);
  for (uint64_t page = 0; page < kFrames / 4; ++page) Change(page * 3);
  WriteAll();
  EXPECT_EQ(Writes(), 0u);
  Change(1);
  WriteAll();
  EXPECT_GT(Writes(), 0u);
  EXPECT_LE(Dirty(), kFrames / 4);
}

TEST_F(PageWriterTest, AsManyAreInFlightAsIsDirtyInProportion) {
  StartInBackground(0.25, {.depth = 32});
  engine().Hold({.operation = IoOperation::kWrite});
  for (uint64_t page = 0; page < 66; ++page) Change(page * 3);
  RunSteps();
  EXPECT_EQ(engine().in_flight(), 1u);
  for (uint64_t page = 66; page < 98; ++page) Change(page * 3);
  RunSteps();
  EXPECT_GE(engine().in_flight(), 10u);
  EXPECT_LE(engine().in_flight(), 13u);
  for (uint64_t page = 98; page < 200; ++page) Change(page * 3);
  RunSteps();
  EXPECT_EQ(engine().in_flight(), 24u) << "three quarters of what the engine takes";
  engine().ReleaseAll();
}

TEST_F(PageWriterTest, WritesInTheOrderOfTheFile) {
  StartInBackground(0);
  std::vector<uint64_t> pages(60);
  std::iota(pages.begin(), pages.end(), 0);
  std::reverse(pages.begin(), pages.end());
  for (const uint64_t page : pages) Change(page * 7);
  WriteAll();
  const std::vector<uint64_t> offsets = engine().Offsets(IoOperation::kWrite);
  ASSERT_EQ(offsets.size(), 60u);
  EXPECT_TRUE(std::is_sorted(offsets.begin(), offsets.end()));
  EXPECT_EQ(Dirty(), 0u);
  EXPECT_EQ(cache().Stats().background_writes, 60u);
}

TEST_F(PageWriterTest, AdjacentPagesAreOneTransfer) {
  StartInBackground(0, {.depth = 16, .joined_depth = 8});
  for (uint64_t page = 40; page < 50; ++page) Change(page);
  Change(100);
  for (uint64_t page = 102; page < 104; ++page) Change(page);
  WriteAll();
  EXPECT_EQ(engine().Pieces(IoOperation::kWrite), (std::vector<size_t>{10, 1, 2}));
  EXPECT_EQ(cache().Stats().joined_writes, 2u);
  EXPECT_EQ(cache().Stats().writes, 13u);
  ASSERT_TRUE(cache().Flush(file_).ok());
  for (uint64_t page = 40; page < 50; ++page) {
    EXPECT_EQ(ReadWholeFile(path_).substr(page * kPageBytes, kPageBytes), PageText(page, 1));
  }
}

TEST_F(PageWriterTest, LongRunIsSeveralTransfers) {
  StartInBackground(0, {.depth = 16, .joined_depth = 8});
  const uint64_t pages = RunWriter::kMostPages * 2 + 1;
  for (uint64_t page = 0; page < pages; ++page) Change(page);
  WriteAll();
  EXPECT_EQ(engine().Pieces(IoOperation::kWrite),
            (std::vector<size_t>{RunWriter::kMostPages, RunWriter::kMostPages, 1}));
}

TEST_F(PageWriterTest, PageBeingWrittenCanBeReadAndNotChanged) {
  StartInBackground(0);
  Change(5);
  engine().Hold({.operation = IoOperation::kWrite});
  RunSteps();
  ASSERT_EQ(Writes(), 1u);
  ExpectVersion(5, 1);
  EXPECT_EQ(cache().Write(Page(5), {.timeout = absl::Milliseconds(1)}).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  engine().ReleaseAll();
  Change(5, 2);
  ExpectVersion(5, 2);
}

TEST_F(PageWriterTest, HeldPageIsPassedOverAndComesLater) {
  StartInBackground(0);
  Change(4);
  {
    WriteGuard held = *cache().Write(Page(5));
    Put(held, PageText(5, 1));
    WriteAll();
    EXPECT_EQ(engine().Offsets(IoOperation::kWrite), std::vector<uint64_t>{4 * kPageBytes});
  }
  WriteAll();
  EXPECT_EQ(Dirty(), 0u);
}

TEST_F(PageWriterTest, ReadersDoNotKeepAPageFromBeingWritten) {
  StartInBackground(0);
  Change(4);
  const ReadGuard reader = *cache().Read(Page(4));
  WriteAll();
  EXPECT_EQ(Dirty(), 0u);
}

// ---- Failures ----

TEST_F(PageWriterTest, FailedPageStaysDirtyAndIsTriedAgainAfterAPause) {
  StartInBackground(0);
  engine().Fail({.operation = IoOperation::kWrite}, io::ErrnoStatus(ENOSPC, "test"));
  Change(5);
  WriteAll();
  EXPECT_EQ(Writes(), 1u);
  EXPECT_EQ(cache().Stats().failing_frames, 1u);
  WriteAll();
  EXPECT_EQ(Writes(), 1u) << "not at once";
  environment_.Advance(2'000'000'000);
  WriteAll();
  EXPECT_EQ(Writes(), 2u);
  EXPECT_EQ(Dirty(), 0u);
  EXPECT_TRUE(environment_.Heard("cannot be written and stays in memory"));
}

// One bad page must not keep its neighbours from the disk.
TEST_F(PageWriterTest, PagesOfAFailedJoinedWriteAreWrittenAlone) {
  StartInBackground(0, {.depth = 16, .joined_depth = 8});
  engine().Fail({.operation = IoOperation::kWrite, .offset_bytes = 12 * kPageBytes},
                io::ErrnoStatus(EIO, "test"), FakeEngine::kAlways);
  for (uint64_t page = 10; page < 15; ++page) Change(page);
  WriteAll();
  EXPECT_EQ(cache().Stats().failing_frames, 5u);
  environment_.Advance(11'000'000);  // the five are one occasion
  WriteAll();
  EXPECT_EQ(cache().Stats().failing_frames, 1u);
  EXPECT_EQ(engine().Pieces(IoOperation::kWrite), (std::vector<size_t>{5, 1, 1, 1, 1, 1}));
  engine().FailNothing();
  ASSERT_TRUE(cache().Flush(file_).ok());
  ExpectVersion(12, 1);
}

TEST_F(PageWriterTest, FlushReportsAFailedJoinedWriteAndSucceedsLater) {
  StartInBackground(1, {.depth = 16, .joined_depth = 8});
  engine().Fail({.operation = IoOperation::kWrite}, io::ErrnoStatus(EIO, "test"));
  for (uint64_t page = 10; page < 15; ++page) Change(page);
  EXPECT_EQ(cache().Flush(file_).code(), io::ErrnoStatus(EIO, "").code());
  EXPECT_EQ(Dirty(), 5u);
  EXPECT_EQ(cache().Stats().write_errors, 5u);
  EXPECT_TRUE(cache().Flush(file_).ok());
  EXPECT_EQ(Dirty(), 0u);
}

TEST_F(PageWriterTest, PoisonedFileIsLeftAlone) {
  StartInBackground(0);
  Change(1);
  engine().Fail({.operation = IoOperation::kSync}, io::ErrnoStatus(EIO, "test"));
  ASSERT_FALSE(cache().Flush(file_).ok());
  const uint64_t writes = Writes();
  WriteAll();
  EXPECT_EQ(Writes(), writes);
}

// ---- Throttling ----

TEST_F(PageWriterTest, CleanPagesAreLeftForThoseWhoRead) {
  StartInBackground(0.5);
  engine().Hold({.operation = IoOperation::kWrite});
  uint64_t changed = 0;
  absl::Status status;
  for (uint64_t page = 0; page < kFrames; ++page) {
    auto guard = cache().Write(Page(page * 3), {.timeout = absl::Milliseconds(5)});
    status = guard.status();
    if (!status.ok()) break;
    Put(*guard, PageText(page * 3, 1));
    ++changed;
    RunSteps();
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(status.message().find("too many pages are dirty"), std::string::npos) << status;
  EXPECT_GE(changed, kFrames * 7 / 8);
  EXPECT_LT(changed, kFrames);
  // What is dirty already can be changed again, unless it is being written; others read.
  const uint64_t waits = cache().Stats().waits;
  ExpectVersion(kPages - 1, 0);
  EXPECT_LE(cache().Stats().waits, waits + 1) << "for its own read";
  EXPECT_TRUE(cache().Write(Page((changed - 1) * 3), {.timeout = absl::ZeroDuration()}).ok());
  EXPECT_FALSE(cache().TryWrite(Page(kPages - 1)).has_value()) << "clean";
  engine().ReleaseAll();
  WriteAll();
  EXPECT_TRUE(cache().Write(Page(kPages - 1), {.timeout = absl::Seconds(1)}).ok());
}

storage::Task<absl::Status> ChangeOne(storage::TaskScheduler&, storage::PageCache& cache,
                                      storage::PageId page) {
  auto guard = co_await cache.WriteAsync(page);
  if (!guard.ok()) co_return guard.status();
  Put(*guard, PageText(page.page_number, 1));
  co_return absl::OkStatus();
}

TEST_F(PageWriterTest, TasksThatAreThrottledGoOnWhenPagesAreWritten) {
  StartInBackground(0.5);
  storage::CacheProgress progress(&cache());
  const auto frames = *storage::CoroutineFrames::Create();
  storage::TaskScheduler scheduler(frames.get(), &progress, &environment_);
  for (uint64_t page = 0; page < kFrames * 4; ++page) {
    ASSERT_TRUE(scheduler.Run(ChangeOne(scheduler, cache(), Page(page))).ok()) << page;
    if (page % 8 == 0) RunSteps();
  }
  WriteAll();
  EXPECT_LE(Dirty(), kFrames / 2);
  ASSERT_TRUE(cache().Flush(file_).ok());
  for (uint64_t page = 0; page < kFrames * 4; ++page) ExpectVersion(page, 1);
}

// What is dirty cannot be written, and that is no reason to keep other files from being changed.
TEST_F(PageWriterTest, PoisonedFileDoesNotThrottleOthers) {
  StartInBackground(0.5);
  const storage::FileId other = *cache().OpenFile(scratch_.MakeFile("other.db", FileText(8)));
  Change(0);
  engine().Hold({.operation = IoOperation::kSync});
  ASSERT_FALSE(cache().Flush(file_, absl::Milliseconds(1)).ok());
  engine().Hold({.operation = IoOperation::kWrite});
  for (uint64_t page = 1; page < kFrames; ++page) {
    auto guard = cache().Write(Page(page * 3), {.timeout = absl::Milliseconds(5)});
    if (!guard.ok()) break;
    Put(*guard, PageText(page * 3, 1));
  }
  engine().Fail({.operation = IoOperation::kSync}, io::ErrnoStatus(EIO, "test"));
  engine().ReleaseAll();
  Reap();
  ASSERT_FALSE(cache().Flush(file_).ok()) << "poisoned";
  ASSERT_GE(Dirty(), kFrames * 7 / 8);
  WriteAll();
  EXPECT_TRUE(cache().Write({other, 3}, {.timeout = absl::Milliseconds(5)}).ok());
}

// Nothing is left that could be written: who waited would do so for ever.
TEST_F(PageWriterTest, NobodyIsThrottledForThoseWhoHoldAll) {
  StartInBackground(1);
  std::vector<WriteGuard> held;
  for (uint64_t page = 0; page < kFrames - 4; ++page) {
    auto guard = cache().Write(Page(page), {.timeout = absl::Milliseconds(5)});
    if (!guard.ok()) break;
    (void)guard->mutable_bytes();
    held.push_back(*std::move(guard));
  }
  EXPECT_GE(held.size(), kFrames - kFrames / 8);
}

}  // namespace
}  // namespace fixpool::tests
