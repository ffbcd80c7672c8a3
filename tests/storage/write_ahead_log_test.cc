// WriteAheadLog, LSNs of pages, OldestDirtyLsn and Checkpoint, on an engine that does as it is
// told.

#include "fixpool/storage/write_ahead_log.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
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
using storage::Lsn;
using storage::WriteGuard;

constexpr Lsn At(uint64_t lsn) { return Lsn{lsn}; }

// Records are numbered from 1; how far it is durable is up to the cache, and whether it can be, to
// the test.
class TestLog final : public storage::WriteAheadLog {
 public:
  absl::Status EnsureDurable(Lsn lsn) override {
    calls_.push_back(lsn);
    if (in_hook_) in_hook_();
    if (!failure_.ok()) return failure_;
    if (lsn > durable_) durable_ = lsn;
    return absl::OkStatus();
  }
  Lsn NextLsn() override { return Lsn{last_ + 1}; }

  Lsn Append() { return Lsn{++last_}; }
  void Skip(uint64_t records) { last_ += records; }
  void Fail(absl::Status status) { failure_ = std::move(status); }
  void InHook(std::function<void()> hook) { in_hook_ = std::move(hook); }
  Lsn durable() const { return durable_; }
  const std::vector<Lsn>& calls() const { return calls_; }

 private:
  uint64_t last_ = 0;
  Lsn durable_ = Lsn::kNone;
  absl::Status failure_;
  std::function<void()> in_hook_;
  std::vector<Lsn> calls_;
};

storage::Task<absl::Status> ReadOne(storage::TaskScheduler&, storage::PageCache& cache,
                                    storage::PageId page) {
  co_return (co_await cache.ReadAsync(page)).status();
}

class WriteAheadLogTest : public FakeCacheTest {
 protected:
  void StartWithLog(uint32_t frames, uint64_t pages, FakeEngine::Options options = {}) {
    StartWith({.frame_count = frames, .free_frames = 0, .log = &log_}, pages, options);
  }
  // As an engine does it: the page is going to change, the record, the change.
  Lsn ChangeLogged(uint64_t page_number, uint64_t version = 1) {
    WriteGuard page = *cache().Write(Page(page_number));
    (void)page.mutable_bytes();
    const Lsn lsn = log_.Append();
    Put(page, PageText(page_number, version));
    page.set_lsn(lsn);
    return lsn;
  }
  uint64_t Writes() { return engine().Count(IoOperation::kWrite); }
  std::optional<Lsn> Oldest() { return cache().OldestDirtyLsn(); }

  TestLog log_;
};

// ---- The order ----

TEST_F(WriteAheadLogTest, FlushAsksForTheLargestLsnOnceAndBeforeTheFirstWrite) {
  StartWithLog(8, 8);
  for (uint64_t page = 0; page < 5; ++page) ChangeLogged(page);
  log_.InHook([this] { EXPECT_EQ(Writes(), 0u); });
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_EQ(log_.calls(), std::vector<Lsn>{At(5)});
  EXPECT_EQ(Writes(), 5u);
  EXPECT_EQ(cache().Stats().log_calls, 1u);
}

TEST_F(WriteAheadLogTest, WhatIsDurableIsNotAskedForAgain) {
  StartWithLog(8, 8);
  ChangeLogged(0);
  ChangeLogged(1);
  ASSERT_TRUE(cache().Flush(file_).ok());
  Change(2);  // without a record
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_EQ(log_.calls().size(), 1u);
}

TEST_F(WriteAheadLogTest, EvictionHasTheLogMadeDurableFirst) {
  StartWithLog(4, 16);
  for (uint64_t page = 0; page < 4; ++page) ChangeLogged(page);
  log_.InHook([this] { EXPECT_EQ(Writes(), 0u); });
  ExpectVersion(10, 0);
  EXPECT_FALSE(log_.calls().empty());
  EXPECT_GT(Writes(), 0u);
  for (uint64_t page = 0; page < 4; ++page) ExpectVersion(page, 1);
}

// While there is a clean page, nobody waits for the log.
TEST_F(WriteAheadLogTest, MissTakesCleanPageInsteadOfAskingTheLog) {
  StartWithLog(4, 16);
  for (uint64_t page = 0; page < 3; ++page) ChangeLogged(page);
  for (uint64_t page = 8; page < 16; ++page) ExpectVersion(page, 0);
  EXPECT_TRUE(log_.calls().empty());
  EXPECT_EQ(Writes(), 0u);
}

TEST_F(WriteAheadLogTest, TaskThatNeedsAFrameHasTheLogAsked) {
  StartWithLog(4, 16);
  for (uint64_t page = 0; page < 4; ++page) ChangeLogged(page);
  storage::CacheProgress progress(&cache());
  const auto frames = *storage::CoroutineFrames::Create();
  storage::TaskScheduler scheduler(frames.get(), &progress, &environment_);
  EXPECT_TRUE(scheduler.Run(ReadOne(scheduler, cache(), Page(10))).ok());
  EXPECT_EQ(log_.durable(), At(4));
}

TEST_F(WriteAheadLogTest, RecordsAfterTheCallMakeAnotherCall) {
  StartWithLog(8, 8);
  ChangeLogged(0);
  engine().Hold({.operation = IoOperation::kWrite});
  ASSERT_EQ(cache().Flush(file_, absl::Milliseconds(1)).code(),
            absl::StatusCode::kDeadlineExceeded);
  engine().ReleaseAll();
  ChangeLogged(0, 2);
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_EQ(log_.calls(), (std::vector<Lsn>{At(1), At(2)}));
}

// The flush is away while its write fails, and the background begins another, of which it must
// hear.
TEST_F(WriteAheadLogTest, FlushAwaitsAWriteThatFollowedItsOwnFailedOne) {
  StartWith({.frame_count = 64,
             .free_frames = 2,
             .background_thread = false,
             .dirty_share = 0,
             .log = &log_},
            64);
  BackgroundWork background(&cache());
  storage::CacheProgress progress(&cache());
  Change(5);  // without a record: written at once
  ChangeLogged(9);
  engine().Fail({.operation = IoOperation::kWrite, .offset_bytes = 5 * kPageBytes},
                io::ErrnoStatus(EIO, "test"));
  log_.InHook([&] {
    ASSERT_EQ(Writes(), 1u);
    progress.Poll();
    ASSERT_EQ(cache().Stats().failing_frames, 1u);
    engine().Hold({.operation = IoOperation::kWrite, .offset_bytes = 5 * kPageBytes});
    environment_.Advance(1'000'000'000);
    while (background.Step()) {
    }
    ASSERT_EQ(engine().Count(IoOperation::kWrite, 5 * kPageBytes), 2u);
  });
  EXPECT_EQ(cache().Flush(file_, absl::Seconds(1)).code(), absl::StatusCode::kDeadlineExceeded);
  engine().ReleaseAll();
  EXPECT_TRUE(cache().Flush(file_).ok());
}

// ---- A log that fails ----

TEST_F(WriteAheadLogTest, FlushReturnsTheErrorAndPagesStayDirty) {
  StartWithLog(8, 8);
  ChangeLogged(0);
  log_.Fail(absl::UnavailableError("the log's disk is full"));
  const absl::Status status = cache().Flush(file_);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(status.message().find("the log's disk is full"), std::string::npos) << status;
  EXPECT_EQ(Writes(), 0u);
  EXPECT_EQ(cache().Stats().dirty_frames, 1u);
  EXPECT_EQ(cache().Stats().log_errors, 1u);
  log_.Fail(absl::OkStatus());
  EXPECT_TRUE(cache().Flush(file_).ok());
}

TEST_F(WriteAheadLogTest, MissEndsWhenTheLogStaysBroken) {
  StartWithLog(4, 16);
  for (uint64_t page = 0; page < 4; ++page) ChangeLogged(page);
  log_.Fail(absl::UnavailableError("gone"));
  const absl::Status status = cache().Read(Page(10), {.timeout = absl::Seconds(10)}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(status.message().find("up to LSN 4: gone"), std::string::npos) << status;
  EXPECT_EQ(Writes(), 0u);
  // At growing intervals, a second apart at most.
  EXPECT_GE(log_.calls().size(), 8u);
  EXPECT_LE(log_.calls().size(), 30u);
  log_.Fail(absl::OkStatus());
  ExpectVersion(10, 0);
}

TEST_F(WriteAheadLogTest, CloseKeepsTheFileOpenIfTheLogFails) {
  StartWithLog(4, 16);
  ChangeLogged(1);
  log_.Fail(absl::UnavailableError("gone"));
  EXPECT_EQ(cache().CloseFile(file_).code(), absl::StatusCode::kUnavailable);
  ExpectVersion(1, 1);
  EXPECT_TRUE(cache().CloseFile(file_, {.discard_changes = true}).ok());
  EXPECT_EQ(Writes(), 0u);
}

// ---- From within ----

TEST_F(WriteAheadLogTest, HookIsRefusedWhereItMightWaitForItself) {
  StartWithLog(4, 16);
  ChangeLogged(1);
  log_.InHook([this] {
    const auto refused = absl::StatusCode::kFailedPrecondition;
    EXPECT_EQ(cache().Flush(file_).code(), refused);
    EXPECT_EQ(cache().Read(Page(9)).status().code(), refused);
    EXPECT_EQ(cache().Write(Page(9)).status().code(), refused);
    EXPECT_EQ(cache().Make(Page(20)).status().code(), refused);
    EXPECT_EQ(cache().CloseFile(file_).code(), refused);
    EXPECT_EQ(cache().Resize(1 << 20).code(), refused);
    EXPECT_EQ(cache().Checkpoint(At(1)).code(), refused);
    EXPECT_TRUE(cache().TryRead(Page(1)).has_value());  // never waits
  });
  EXPECT_TRUE(cache().Flush(file_).ok());
  EXPECT_TRUE(cache().Read(Page(9)).ok());
}

// ---- In the background ----

TEST_F(WriteAheadLogTest, BackgroundAsksForAllThatItIsGoingToWrite) {
  StartWith({.frame_count = 64,
             .free_frames = 2,
             .background_thread = false,
             .dirty_share = 0,
             .log = &log_},
            64);
  for (uint64_t page = 0; page < 20; ++page) ChangeLogged(page);
  BackgroundWork background(&cache());
  while (background.Step()) {
  }
  EXPECT_EQ(log_.calls(), std::vector<Lsn>{At(20)});
  EXPECT_GT(Writes(), 0u);
}

TEST_F(WriteAheadLogTest, BackgroundWritesNothingThatABrokenLogDoesNotCover) {
  StartWith({.frame_count = 64,
             .free_frames = 2,
             .background_thread = false,
             .dirty_share = 0,
             .log = &log_},
            64);
  ChangeLogged(0);
  ASSERT_TRUE(cache().Flush(file_).ok());
  Change(1);  // without a record
  for (uint64_t page = 10; page < 20; ++page) ChangeLogged(page);
  log_.Fail(absl::UnavailableError("gone"));
  BackgroundWork background(&cache());
  while (background.Step()) {
  }
  EXPECT_EQ(engine().Offsets(IoOperation::kWrite), (std::vector<uint64_t>{0, kPageBytes}));
}

// ---- What recovery needs ----

TEST_F(WriteAheadLogTest, NothingIsOldestWhereNothingIsDirty) {
  StartWithLog(8, 8);
  EXPECT_EQ(Oldest(), std::nullopt);
  ExpectVersion(1, 0);
  EXPECT_EQ(Oldest(), std::nullopt);
}

TEST_F(WriteAheadLogTest, PageCountsFromItsFirstChangeToTheEndOfTheSync) {
  StartWithLog(8, 8);
  ChangeLogged(3);  // 1
  ChangeLogged(5);  // 2
  ChangeLogged(3);  // 3
  EXPECT_EQ(Oldest(), At(1));
  EXPECT_EQ(cache().Read(Page(3))->lsn(), At(3));
  engine().Hold({.operation = IoOperation::kSync});
  ASSERT_FALSE(cache().Flush(file_, absl::Milliseconds(1)).ok());
  EXPECT_EQ(Writes(), 2u);
  EXPECT_EQ(cache().Stats().dirty_frames, 0u);
  EXPECT_EQ(Oldest(), At(1)) << "written, and not synced";
  engine().ReleaseAll();
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_EQ(Oldest(), std::nullopt);
}

TEST_F(WriteAheadLogTest, EvictedPageCountsUntilTheSync) {
  StartWithLog(4, 32);
  ChangeLogged(0);
  for (uint64_t page = 1; page < 4; ++page) ChangeLogged(page);
  for (uint64_t page = 8; page < 32; ++page) ExpectVersion(page, 0);
  EXPECT_EQ(cache().Stats().dirty_frames, 0u);
  EXPECT_EQ(Oldest(), At(1));
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_EQ(Oldest(), std::nullopt);
}

TEST_F(WriteAheadLogTest, WriteThatEndsDuringASyncIsNotCoveredByIt) {
  StartWithLog(8, 8);
  ChangeLogged(0);
  engine().Hold({.operation = IoOperation::kSync});
  ASSERT_FALSE(cache().Flush(file_, absl::Milliseconds(1)).ok());
  ChangeLogged(1);
  ASSERT_FALSE(cache().Flush(file_, absl::Milliseconds(1)).ok());  // writes it
  EXPECT_EQ(Writes(), 2u);
  EXPECT_EQ(Oldest(), At(1));
  engine().ReleaseAll();
  // The first sync comes in with this, and says nothing of the second page.
  ExpectVersion(7, 0);
  EXPECT_EQ(Oldest(), At(2));
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_EQ(Oldest(), std::nullopt);
}

TEST_F(WriteAheadLogTest, FailedWriteKeepsThePagesPlace) {
  StartWithLog(8, 8);
  ChangeLogged(0);
  engine().Fail({.operation = IoOperation::kWrite}, io::ErrnoStatus(EIO, "test"));
  ASSERT_FALSE(cache().Flush(file_).ok());
  EXPECT_EQ(Oldest(), At(1));
  ChangeLogged(0);
  EXPECT_EQ(Oldest(), At(1));
}

TEST_F(WriteAheadLogTest, FileWhoseSyncFailedCountsForAsLongAsItIsOpen) {
  StartWithLog(8, 8);
  ChangeLogged(0);
  engine().Fail({.operation = IoOperation::kSync}, io::ErrnoStatus(EIO, "test"));
  ASSERT_FALSE(cache().Flush(file_).ok());
  ASSERT_FALSE(cache().Flush(file_).ok());
  EXPECT_EQ(Oldest(), At(1));
  EXPECT_FALSE(cache().Checkpoint(At(100)).ok());
  EXPECT_EQ(Oldest(), At(1));
  ASSERT_TRUE(cache().CloseFile(file_, {.discard_changes = true}).ok());
  EXPECT_EQ(Oldest(), std::nullopt);
}

// The record came before the page was asked for its bytes.
TEST_F(WriteAheadLogTest, LsnBelowTheFirstDirtyOneLowersIt) {
  StartWithLog(8, 8);
  WriteGuard page = *cache().Write(Page(1));
  const Lsn lsn = log_.Append();
  log_.Skip(10);
  (void)page.mutable_bytes();
  EXPECT_EQ(Oldest(), At(12));
  page.set_lsn(lsn);
  EXPECT_EQ(Oldest(), lsn);
}

TEST_F(WriteAheadLogTest, MadePageCountsFromBeforeItWasMade) {
  StartWithLog(8, 8);
  log_.Skip(41);
  ASSERT_TRUE(cache().Make(Page(20)).ok());  // nobody says an LSN
  EXPECT_EQ(Oldest(), At(42));
  log_.Skip(10);
  ASSERT_TRUE(cache().Write(Page(21)).ok());
  EXPECT_EQ(Oldest(), At(42));
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_EQ(Oldest(), std::nullopt);
  ASSERT_TRUE(cache().Make(Page(3)).ok());
  EXPECT_EQ(Oldest(), At(52));
}

TEST_F(WriteAheadLogTest, LsnsWithoutALogAreKeptToo) {
  Start(8, 8);
  {
    WriteGuard page = *cache().Write(Page(1));
    page.set_lsn(At(7));
    EXPECT_EQ(page.lsn(), At(7));
  }
  EXPECT_EQ(Oldest(), At(7));
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_EQ(Oldest(), std::nullopt);
}

TEST_F(WriteAheadLogTest, DiscardedChangesDoNotCount) {
  StartWithLog(8, 8);
  ChangeLogged(0);
  ASSERT_TRUE(cache().CloseFile(file_, {.discard_changes = true}).ok());
  EXPECT_EQ(Oldest(), std::nullopt);
}

// From the moment when somebody has it to do.
TEST_F(WriteAheadLogTest, ChangeOfAFileCountsWhileItIsMade) {
  StartWithLog(8, 16);
  const Lsn lsn = log_.Append();
  log_.Skip(10);
  int calls = 0;
  log_.InHook([&] {
    ++calls;
    EXPECT_EQ(Oldest(), lsn);
  });
  ASSERT_TRUE(cache().FreePages(file_, 2, 3, {.lsn = lsn}).ok());
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(Oldest(), lsn);
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_EQ(Oldest(), std::nullopt);
}

// ---- Checkpoints ----

TEST_F(WriteAheadLogTest, CheckpointWritesOnlyWhatIsOldEnough) {
  StartWithLog(16, 16);
  for (uint64_t page = 0; page < 8; ++page) ChangeLogged(page);  // 1 to 8
  ChangeLogged(0, 2);                                            // 9, first dirty since 1
  ASSERT_TRUE(cache().Checkpoint(At(4)).ok());
  EXPECT_EQ(Writes(), 4u);
  EXPECT_EQ(engine().Count(IoOperation::kSync), 1u);
  EXPECT_EQ(Oldest(), At(5));
  EXPECT_EQ(cache().Stats().dirty_frames, 4u);
  EXPECT_EQ(log_.durable(), At(9));
}

TEST_F(WriteAheadLogTest, CheckpointWithNothingToDoNeitherWritesNorSyncs) {
  StartWithLog(16, 16);
  ChangeLogged(0);
  ASSERT_TRUE(cache().Flush(file_).ok());
  log_.Skip(10);
  ChangeLogged(1);
  const uint64_t syncs = engine().Count(IoOperation::kSync);
  ASSERT_TRUE(cache().Checkpoint(At(5)).ok());
  EXPECT_EQ(Writes(), 1u);
  EXPECT_EQ(engine().Count(IoOperation::kSync), syncs);
}

TEST_F(WriteAheadLogTest, CheckpointSyncsWhatWasWrittenBefore) {
  StartWithLog(4, 32);
  for (uint64_t page = 0; page < 4; ++page) ChangeLogged(page);
  for (uint64_t page = 8; page < 32; ++page) ExpectVersion(page, 0);
  const uint64_t writes = Writes();
  ASSERT_TRUE(cache().Checkpoint(At(4)).ok());
  EXPECT_EQ(Writes(), writes);
  EXPECT_EQ(engine().Count(IoOperation::kSync), 1u);
  EXPECT_EQ(Oldest(), std::nullopt);
}

TEST_F(WriteAheadLogTest, CheckpointCoversAllFilesAndTellsTheFirstError) {
  StartWithLog(16, 16);
  const storage::FileId other = *cache().OpenFile(scratch_.path() + "/other.db", {.create = true});
  ChangeLogged(1);
  {
    WriteGuard page = *cache().Make({other, 0});
    page.set_lsn(log_.Append());
  }
  engine().Fail({.operation = IoOperation::kWrite, .offset_bytes = kPageBytes},
                io::ErrnoStatus(EIO, "test"));
  EXPECT_FALSE(cache().Checkpoint(At(10)).ok());
  EXPECT_EQ(engine().Count(IoOperation::kWrite, 0), 1u) << "the other file's page";
  EXPECT_EQ(Oldest(), At(1));
  ASSERT_TRUE(cache().Checkpoint(At(10)).ok());
  EXPECT_EQ(Oldest(), std::nullopt);
}

TEST_F(WriteAheadLogTest, CheckpointGoesOnBesideThoseWhoRead) {
  StartWithLog(8, 8);
  ChangeLogged(0);
  const auto reader = *cache().Read(Page(0));
  EXPECT_TRUE(cache().Checkpoint(At(1)).ok());
  EXPECT_TRUE(Text(reader.bytes()) == PageText(0, 1));
}

}  // namespace
}  // namespace fixpool::tests
