// Sealed files on an engine that does as it is told: what users see of pages, what reaches the
// disk, and who hears of pages that are not what was sealed. On the kernel, and with threads, in
// page_cache_seal_levels_test.cc.

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
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
#include "tests/storage/sealed_files.h"

namespace fixpool::tests {
namespace {

using io::IoOperation;
using storage::AccessOptions;
using storage::FileId;
using storage::FileOptions;
using storage::Lsn;
using storage::OptimisticGuard;
using storage::PageHint;
using storage::PageId;
using storage::PageSeal;
using storage::ReadGuard;
using storage::WriteGuard;

constexpr AccessOptions kNow{.timeout = absl::ZeroDuration()};

class PageCacheSealTest : public FakeCacheTest {
 protected:
  // A cache, and a sealed file with pages of version 0 and LSN 100 + their number on disk.
  void Start(uint32_t frames, uint64_t pages, FakeEngine::Options options = {}) {
    path_ = scratch_.File("sealed.db");
    (void)unlink(path_.c_str());  // of the Start before
    stack_.emplace(&environment_, frames, options);
    Open(Sealed());
    for (uint64_t page = 0; page < pages; ++page) Put(page, 0, 100 + page);
    Reopen();
  }
  void Open(const FileOptions& options) {
    absl::StatusOr<FileId> file = cache().OpenFile(path_, options);
    ASSERT_TRUE(file.ok()) << file.status();
    file_ = *file;
  }
  // With nothing of it in memory.
  void Reopen() {
    ASSERT_TRUE(cache().CloseFile(file_).ok());
    Open(Sealed());
  }
  void Put(uint64_t page, uint64_t version, uint64_t lsn) {
    absl::StatusOr<WriteGuard> guard = cache().Write(Page(page));
    ASSERT_TRUE(guard.ok()) << guard.status();
    tests::Put(*guard, Payload(page, version));
    guard->set_lsn(Lsn{lsn});
  }
  void ExpectPage(uint64_t page, uint64_t version, uint64_t lsn) {
    absl::StatusOr<ReadGuard> guard = cache().Read(Page(page));
    ASSERT_TRUE(guard.ok()) << guard.status();
    EXPECT_TRUE(Text(guard->bytes()) == Payload(page, version)) << "page " << page;
    EXPECT_EQ(guard->lsn(), Lsn{lsn}) << "page " << page;
  }
  void ExpectDataLoss(const absl::Status& status, const std::string& part) {
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), part)) << status;
  }
  absl::Status ReadStatus(uint64_t page, AccessOptions options = {}) {
    return cache().Read(Page(page), options).status();
  }
  // A thread has nothing to do with frames but what the test does.
  void ExpectFreeFrames(uint64_t frames) { EXPECT_EQ(cache().Stats().free_frames, frames); }
};

// ---- What users see ----

TEST_F(PageCacheSealTest, GuardsOfAllKindsShowThePayload) {
  Start(16, 4);
  EXPECT_EQ(*cache().PayloadBytes(file_), kPayloadBytes);
  EXPECT_EQ(cache().page_bytes(), kPageBytes);
  EXPECT_EQ(cache().Read(Page(0))->bytes().size(), kPayloadBytes);  // a miss
  EXPECT_EQ(cache().Read(Page(0))->bytes().size(), kPayloadBytes);  // a hit
  EXPECT_EQ(cache().TryRead(Page(0))->bytes().size(), kPayloadBytes);
  EXPECT_EQ(cache().Write(Page(1))->bytes().size(), kPayloadBytes);
  EXPECT_EQ(cache().Write(Page(1))->mutable_bytes().size(), kPayloadBytes);
  EXPECT_EQ(cache().TryWrite(Page(1))->mutable_bytes().size(), kPayloadBytes);
  EXPECT_EQ(cache().Make(Page(7))->bytes().size(), kPayloadBytes);
  EXPECT_EQ(cache().Make(Page(7))->bytes().size(), kPayloadBytes);
  EXPECT_EQ(cache().Read(Page(0))->TryUpgrade()->bytes().size(), kPayloadBytes);
  EXPECT_EQ(cache().Write(Page(0))->Downgrade().bytes().size(), kPayloadBytes);
  std::array<absl::StatusOr<ReadGuard>, 2> guards;
  ASSERT_EQ(cache().ReadMany(std::array{Page(0), Page(3)}, absl::MakeSpan(guards)), 2u);
  EXPECT_EQ(guards[0]->bytes().size(), kPayloadBytes);
  EXPECT_EQ(guards[1]->bytes().size(), kPayloadBytes);
}

// Its word turns everybody to the lock.
TEST_F(PageCacheSealTest, PageThatIsBeingWrittenShowsThePayload) {
  Start(4, 2);
  Put(1, 5, 200);
  engine().Hold({.operation = IoOperation::kWrite});
  EXPECT_TRUE(absl::IsDeadlineExceeded(cache().Flush(file_, absl::ZeroDuration())));
  EXPECT_FALSE(cache().TryWrite(Page(1)).has_value());
  EXPECT_TRUE(Text(cache().TryRead(Page(1))->bytes()) == Payload(1, 5));
  ExpectPage(1, 5, 200);
  engine().ReleaseAll();
  ASSERT_TRUE(cache().Flush(file_).ok());
  Reopen();
  ExpectPage(1, 5, 200);
}

TEST_F(PageCacheSealTest, ViewsAndHintsShowThePayload) {
  Start(16, 4);
  EXPECT_EQ(cache().ReadOptimistic(Page(0))->view().size_bytes(), kPayloadBytes);
  EXPECT_EQ(cache().ReadOptimistic(Page(0))->view().size_bytes(), kPayloadBytes);
  EXPECT_EQ(cache().TryReadOptimistic(Page(0)).view().size_bytes(), kPayloadBytes);
  std::array<OptimisticGuard, 1> looks;
  cache().TryReadOptimisticMany(std::array{Page(0)}, absl::MakeSpan(looks));
  EXPECT_EQ(looks[0].view().size_bytes(), kPayloadBytes);
  EXPECT_EQ(looks[0].view().Load<uint64_t>(kPayloadBytes), 0u) << "the trailer";
  const PageHint hint = cache().Read(Page(0))->hint();
  EXPECT_EQ(cache().TryRead(hint)->bytes().size(), kPayloadBytes);
  EXPECT_EQ(cache().TryWrite(hint)->bytes().size(), kPayloadBytes);
  EXPECT_EQ(cache().TryReadOptimistic(hint).view().size_bytes(), kPayloadBytes);
}

TEST_F(PageCacheSealTest, FilesWithAndWithoutSealSideBySide) {
  Start(16, 4);
  const std::string path = scratch_.MakeFile("plain.db", FileText(4));
  const FileId plain = *cache().OpenFile(path);
  EXPECT_EQ(*cache().PayloadBytes(plain), kPageBytes);
  for (int look = 0; look < 2; ++look) {
    EXPECT_TRUE(Text(cache().Read({plain, 1})->bytes()) == PageText(1));
    ExpectPage(1, 0, 101);
  }
  EXPECT_EQ(cache().ReadOptimistic({plain, 1})->view().size_bytes(), kPageBytes);
  {
    WriteGuard guard = *cache().Write({plain, 2});
    tests::Put(guard, PageText(2, 9));
    guard.set_lsn(Lsn{5});
  }
  ASSERT_TRUE(cache().Flush(plain).ok());
  EXPECT_TRUE(PageOnDisk(path, 2) == PageText(2, 9));
  EXPECT_EQ(cache().Read({plain, 2})->lsn(), Lsn{5});
  EXPECT_TRUE(absl::IsNotFound(cache().PayloadBytes(FileId()).status()));
}

// Each one in the slot of the one before.
TEST_F(PageCacheSealTest, NextFileInTheSlotHasItsOwnPayload) {
  Start(8, 2);
  for (int round = 0; round < 3; ++round) {
    const uint32_t slot = file_.slot();
    ASSERT_TRUE(cache().CloseFile(file_).ok());
    EXPECT_TRUE(absl::IsNotFound(cache().PayloadBytes(file_).status()));
    Open({});
    ASSERT_EQ(file_.slot(), slot);
    EXPECT_EQ(cache().Read(Page(0))->bytes().size(), kPageBytes);
    EXPECT_EQ(cache().Read(Page(0))->bytes().size(), kPageBytes);
    EXPECT_EQ(cache().Read(Page(0))->lsn(), Lsn::kNone);
    Reopen();
    EXPECT_EQ(cache().Read(Page(0))->bytes().size(), kPayloadBytes);
    ExpectPage(0, 0, 100);
  }
}

// ---- What reaches the disk ----

TEST_F(PageCacheSealTest, WhatIsWrittenIsSealedWithItsLsn) {
  Start(4, 8);
  for (uint64_t page = 0; page < 8; ++page) {
    const std::string on_disk = PageOnDisk(path_, page);
    EXPECT_TRUE(on_disk.substr(0, kPayloadBytes) == Payload(page)) << page;
    const absl::StatusOr<Lsn> lsn = LsnIn(on_disk, page);
    ASSERT_TRUE(lsn.ok()) << lsn.status();
    EXPECT_EQ(*lsn, Lsn{100 + page});
    ExpectPage(page, 0, 100 + page);
  }
  EXPECT_EQ(cache().Stats().seal_errors, 0u);
}

TEST_F(PageCacheSealTest, PageThatIsWrittenAgainKeepsTheLsnThatWasRead) {
  Start(4, 2);
  {
    WriteGuard guard = *cache().Write(Page(1));
    tests::Put(guard, Payload(1, 7));
  }
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_EQ(*LsnIn(PageOnDisk(path_, 1), 1), Lsn{101});
  Reopen();
  ExpectPage(1, 7, 101);
}

TEST_F(PageCacheSealTest, MadePageHasNoLsnAndIsSealed) {
  Start(4, 2);
  EXPECT_EQ(cache().Make(Page(0))->lsn(), Lsn::kNone);
  { const WriteGuard made = *cache().Make(Page(5)); }
  ASSERT_TRUE(cache().Flush(file_).ok());
  const std::string on_disk = PageOnDisk(path_, 5);
  EXPECT_TRUE(on_disk.substr(0, kPayloadBytes) == std::string(kPayloadBytes, '\0'));
  EXPECT_EQ(*LsnIn(on_disk, 5), Lsn::kNone);
  EXPECT_FALSE(storage::IsAllZeros(std::as_bytes(std::span(on_disk))));
}

// The failed write was sealed, too, for what the page was then.
TEST_F(PageCacheSealTest, WriteThatFailedIsSealedAnew) {
  Start(4, 2);
  Put(1, 1, 500);
  engine().Fail({.operation = IoOperation::kWrite}, io::ErrnoStatus(EIO, "the test"));
  EXPECT_FALSE(cache().Flush(file_).ok());
  EXPECT_EQ(*LsnIn(PageOnDisk(path_, 1), 1), Lsn{101});
  Put(1, 2, 600);
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_EQ(*LsnIn(PageOnDisk(path_, 1), 1), Lsn{600});
  Reopen();
  ExpectPage(1, 2, 600);
}

TEST_F(PageCacheSealTest, RequestsThatTheEngineTakesLaterAreSealed) {
  Start(16, 12);
  for (uint64_t page = 0; page < 12; ++page) Put(page, 1, 1000 + page);
  engine().TakeAtMost(1);
  engine().BeFull(3);
  ASSERT_TRUE(cache().Flush(file_).ok());
  for (uint64_t page = 0; page < 12; ++page) {
    EXPECT_EQ(*LsnIn(PageOnDisk(path_, page), page), Lsn{1000 + page});
  }
}

// ---- Pages that are not what was sealed ----

TEST_F(PageCacheSealTest, DamagedPageIsDataLossAndNothingElseIsDisturbed) {
  for (const size_t byte : {0u, 2000u, kPayloadBytes, kPageBytes - 1}) {
    Start(4, 4);
    ExpectPage(2, 0, 102);
    FlipBitOnDisk(path_, 1, byte);
    const uint64_t reads = engine().Count(IoOperation::kRead);
    ExpectDataLoss(ReadStatus(1), "page 1 of " + path_);
    ExpectFreeFrames(3);
    ExpectPage(2, 0, 102);
    ExpectPage(3, 0, 103);
    EXPECT_EQ(cache().Stats().seal_errors, 1u);
    EXPECT_EQ(cache().Stats().read_errors, 0u);
    EXPECT_TRUE(environment_.Heard("page 1 of " + path_ + " was read and is not what was written"));
    // The next access reads anew.
    ExpectDataLoss(ReadStatus(1), "page 1");
    EXPECT_EQ(engine().Count(IoOperation::kRead), reads + 3);
    EXPECT_EQ(cache().Stats().seal_errors, 2u);
    FlipBitOnDisk(path_, 1, byte);
    ExpectPage(1, 0, 101);
  }
}

TEST_F(PageCacheSealTest, DataLossIsReportedOncePerRead) {
  Start(4, 4);
  FlipBitOnDisk(path_, 1, 9);
  EXPECT_FALSE(ReadStatus(1).ok());
  EXPECT_EQ(environment_.errors().size(), 1u);
  EXPECT_FALSE(cache().Write(Page(1)).ok());
  EXPECT_FALSE(cache().ReadOptimistic(Page(1)).ok());
  EXPECT_EQ(environment_.errors().size(), 3u);
}

// Make does not care what was there.
TEST_F(PageCacheSealTest, DamagedPageCanBeMadeAnew) {
  Start(4, 4);
  FlipBitOnDisk(path_, 1, 9);
  EXPECT_TRUE(absl::IsDataLoss(cache().Write(Page(1)).status()));
  {
    absl::StatusOr<WriteGuard> guard = cache().Make(Page(1));
    ASSERT_TRUE(guard.ok()) << guard.status();
    tests::Put(*guard, Payload(1, 3));
    guard->set_lsn(Lsn{300});
  }
  ASSERT_TRUE(cache().Flush(file_).ok());
  Reopen();
  ExpectPage(1, 3, 300);
}

TEST_F(PageCacheSealTest, MisdirectedPagesAreDataLoss) {
  Start(4, 4);
  PutOnDisk(path_, 1 * kPageBytes, PageOnDisk(path_, 3));
  ExpectDataLoss(ReadStatus(1), "page number: expected 1, found 3");
  ExpectPage(3, 0, 103);
  // The same page of another file.
  const std::string other = scratch_.File("other.db");
  const FileId other_file = *cache().OpenFile(other, Sealed(kIdentity + 1));
  {
    WriteGuard guard = *cache().Make({other_file, 0});
    tests::Put(guard, Payload(0));
  }
  ASSERT_TRUE(cache().Flush(other_file).ok());
  PutOnDisk(path_, 0, PageOnDisk(other, 0));
  ExpectDataLoss(ReadStatus(0), "file identity");
  EXPECT_TRUE(cache().Read({other_file, 0}).ok());
}

TEST_F(PageCacheSealTest, OtherFormatsAreDataLoss) {
  Start(4, 2);
  PutOnDisk(path_, 0, PageText(0));
  ExpectDataLoss(ReadStatus(0), "magic");
  // A file that is sealed is not read as one that is not: the caller sees the trailer.
  ASSERT_TRUE(cache().CloseFile(file_).ok());
  Open({});
  EXPECT_TRUE(Text(cache().Read(Page(1))->bytes()) == PageOnDisk(path_, 1));
}

TEST_F(PageCacheSealTest, PagesThatWereNeverWrittenReadAsZeros) {
  Start(8, 2);
  ASSERT_EQ(truncate(path_.c_str(), 6 * kPageBytes), 0);
  Reopen();
  for (uint64_t page = 2; page < 6; ++page) {
    absl::StatusOr<ReadGuard> guard = cache().Read(Page(page));
    ASSERT_TRUE(guard.ok()) << guard.status();
    EXPECT_TRUE(Text(guard->bytes()) == std::string(kPayloadBytes, '\0'));
    EXPECT_EQ(guard->lsn(), Lsn::kNone);
  }
  // A lost first write looks the same, but to who knows better.
  ExpectDataLoss(ReadStatus(2, {.expected_lsn = Lsn{1}}), "expected LSN 1, found 0");
  EXPECT_EQ(cache().Stats().seal_errors, 0u);
  Put(3, 1, 900);
  ASSERT_TRUE(cache().Flush(file_).ok());
  Reopen();
  ExpectPage(3, 1, 900);
}

// Whatever was in the frame before, with a seal.
TEST_F(PageCacheSealTest, PageOfZerosForgetsTheLsnOfTheFrame) {
  Start(1, 2);
  ASSERT_EQ(truncate(path_.c_str(), 6 * kPageBytes), 0);
  Reopen();
  ExpectPage(1, 0, 101);
  EXPECT_EQ(cache().Read(Page(4))->lsn(), Lsn::kNone);
}

TEST_F(PageCacheSealTest, PartOfAPageAtTheEndIsFilledWithZerosBeforeItIsVerified) {
  for (const uint32_t joined_depth : {0u, 4u}) {
    Start(16, 4, {.joined_depth = joined_depth});
    ASSERT_EQ(truncate(path_.c_str(), 3 * kPageBytes + 1000), 0);
    Reopen();
    ASSERT_TRUE(cache().Prefetch(std::array{Page(1), Page(2), Page(3)}).ok());
    ExpectPage(1, 0, 101);
    ExpectDataLoss(ReadStatus(3), "page 3");
    ASSERT_EQ(truncate(path_.c_str(), 3 * kPageBytes), 0);
    ASSERT_EQ(truncate(path_.c_str(), 3 * kPageBytes + 1000), 0);
    Reopen();
    ASSERT_TRUE(cache().Prefetch(std::array{Page(1), Page(2), Page(3)}).ok());
    ExpectPage(2, 0, 102);
    EXPECT_TRUE(Text(cache().Read(Page(3))->bytes()) == std::string(kPayloadBytes, '\0'));
  }
}

// ---- Several pages at once ----

TEST_F(PageCacheSealTest, OneBadPageOfAJoinedReadFailsAlone) {
  Start(32, 16, {.joined_depth = 4});
  FlipBitOnDisk(path_, 5, 77);
  std::vector<PageId> pages(16);
  for (uint64_t page = 0; page < 16; ++page) pages[page] = Page(page);
  std::vector<absl::StatusOr<ReadGuard>> guards(16);
  EXPECT_EQ(cache().ReadMany(pages, absl::MakeSpan(guards)), 15u);
  for (uint64_t page = 0; page < 16; ++page) {
    if (page == 5) {
      ExpectDataLoss(guards[page].status(), "page 5");
      continue;
    }
    ASSERT_TRUE(guards[page].ok()) << guards[page].status();
    EXPECT_TRUE(Text(guards[page]->bytes()) == Payload(page));
    EXPECT_EQ(guards[page]->lsn(), Lsn{100 + page});
  }
  EXPECT_GE(cache().Stats().joined_reads, 1u);
  EXPECT_EQ(cache().Stats().read_errors, 0u);
  ExpectFreeFrames(17);
}

TEST_F(PageCacheSealTest, PrefetchOfABadPageLeavesAFreeFrame) {
  for (const uint32_t joined_depth : {0u, 4u}) {
    environment_ = ManualEnvironment();
    Start(8, 4, {.joined_depth = joined_depth});
    FlipBitOnDisk(path_, 1, 3);
    const std::array pages = {Page(0), Page(1), Page(2)};
    EXPECT_EQ(*cache().Prefetch(pages), 3u);
    ExpectPage(2, 0, 102);  // has all of them reaped, in this order
    EXPECT_EQ(cache().Stats().seal_errors, 1u);
    EXPECT_EQ(environment_.errors().size(), 1u);
    ExpectFreeFrames(6);
    EXPECT_FALSE(cache().TryRead(Page(1)).has_value());
    EXPECT_TRUE(cache().TryRead(Page(0)).has_value());
  }
}

// Many completions at a time, each of one page.
TEST_F(PageCacheSealTest, FindsTheBadOnesAmongMany) {
  Start(300, 256, {.depth = 256});
  for (uint64_t page = 0; page < 256; page += 50) FlipBitOnDisk(path_, page, page);
  std::vector<PageId> pages(256);
  for (uint64_t page = 0; page < 256; ++page) pages[page] = Page(255 - page);
  ASSERT_TRUE(cache().Prefetch(pages).ok());
  for (uint64_t page = 0; page < 256; ++page) {
    if (page % 50 == 0) {
      ExpectDataLoss(ReadStatus(page), "checksum");
    } else {
      ExpectPage(page, 0, 100 + page);
    }
  }
}

TEST_F(PageCacheSealTest, ReadAheadOfABadPageIsNobodysBusinessButItsReaders) {
  Start(512, 200, {.joined_depth = 8});
  FlipBitOnDisk(path_, 90, 3);
  for (uint64_t page = 0; page < 200; ++page) {
    if (page == 90) {
      ExpectDataLoss(ReadStatus(page), "page 90");
    } else {
      ExpectPage(page, 0, 100 + page);
    }
  }
  EXPECT_GT(cache().Stats().read_ahead, 100u);
  EXPECT_LE(cache().Stats().seal_errors, 3u);
}

using StatusTask = storage::Task<absl::Status>;

StatusTask ReadLater(storage::TaskScheduler&, storage::PageCache& cache, PageId page,
                     AccessOptions options) {
  co_return (co_await cache.ReadAsync(page, options)).status();
}

TEST_F(PageCacheSealTest, AllWhoWaitForABadPageHearOfIt) {
  Start(4, 4);
  FlipBitOnDisk(path_, 1, 3);
  storage::CacheProgress progress(&cache());
  const auto frames = *storage::CoroutineFrames::Create({.frame_count = 64, .frame_bytes = 2048});
  storage::TaskScheduler scheduler(frames.get(), &progress, &environment_);
  const uint64_t reads = engine().Count(IoOperation::kRead);
  std::vector<StatusTask> tasks;
  tasks.push_back(ReadLater(scheduler, cache(), Page(1), {}));
  tasks.push_back(ReadLater(scheduler, cache(), Page(1), {}));
  tasks.push_back(ReadLater(scheduler, cache(), Page(2), {}));
  tasks.push_back(ReadLater(scheduler, cache(), Page(2), {.expected_lsn = Lsn{103}}));
  tasks.push_back(ReadLater(scheduler, cache(), Page(2), {.expected_lsn = Lsn{102}}));
  std::vector<absl::Status> results(tasks.size());
  (void)scheduler.RunConcurrently(absl::MakeSpan(tasks), absl::MakeSpan(results), {});
  ExpectDataLoss(results[0], "page 1");
  ExpectDataLoss(results[1], "page 1");
  EXPECT_TRUE(results[2].ok()) << results[2];
  ExpectDataLoss(results[3], "expected LSN 103, found 102");
  EXPECT_TRUE(results[4].ok()) << results[4];
  // The same of a page in memory.
  ExpectDataLoss(scheduler.Run(ReadLater(scheduler, cache(), Page(2), {.expected_lsn = Lsn{103}})),
                 "expected LSN 103, found 102");
  EXPECT_EQ(engine().Count(IoOperation::kRead), reads + 2);
  EXPECT_EQ(cache().Stats().seal_errors, 1u);
  EXPECT_EQ(cache().Stats().lost_writes, 2u);
  EXPECT_EQ(cache().Stats().pinned_frames, 0u);
}

// ---- Lost writes ----

TEST_F(PageCacheSealTest, LostWriteIsFoundByWhoKnowsTheLsn) {
  Start(4, 4);
  const std::string before = PageOnDisk(path_, 1);
  Put(1, 1, 500);
  ASSERT_TRUE(cache().Flush(file_).ok());
  PutOnDisk(path_, kPageBytes, before);  // as if that write had never reached the disk
  Reopen();
  ExpectDataLoss(ReadStatus(1, {.expected_lsn = Lsn{500}}), "page 1");
  ExpectDataLoss(ReadStatus(1, {.expected_lsn = Lsn{500}}), "expected LSN 500, found 101");
  EXPECT_EQ(cache().Stats().lost_writes, 2u);
  EXPECT_EQ(cache().Stats().seal_errors, 0u);
  // It is a page like any other to everybody else, and stays in memory.
  EXPECT_TRUE(cache().TryRead(Page(1)).has_value());
  ExpectPage(1, 0, 101);
  EXPECT_TRUE(ReadStatus(1, {.expected_lsn = Lsn{101}}).ok());
  EXPECT_EQ(cache().Stats().pinned_frames, 0u);
}

TEST_F(PageCacheSealTest, EachAccessAsksForTheLsn) {
  Start(4, 4);
  const AccessOptions too_much{.expected_lsn = Lsn{102}};
  const AccessOptions enough{.expected_lsn = Lsn{101}};
  for (int look = 0; look < 2; ++look) {  // a miss, then hits
    EXPECT_TRUE(absl::IsDataLoss(cache().Read(Page(1), too_much).status()));
    EXPECT_TRUE(absl::IsDataLoss(cache().Write(Page(1), too_much).status()));
    EXPECT_TRUE(absl::IsDataLoss(cache().ReadOptimistic(Page(1), too_much).status()));
    std::array<absl::StatusOr<ReadGuard>, 2> guards;
    EXPECT_EQ(cache().ReadMany(std::array{Page(1), Page(2)}, absl::MakeSpan(guards), too_much), 1u);
    EXPECT_TRUE(absl::IsDataLoss(guards[0].status()));
    EXPECT_TRUE(guards[1].ok());
  }
  EXPECT_TRUE(cache().Read(Page(1), enough).ok());
  EXPECT_TRUE(cache().Write(Page(1), enough).ok());
  EXPECT_TRUE(cache().ReadOptimistic(Page(1), enough)->StillValid());
  // What was set in memory counts.
  cache().Write(Page(1))->set_lsn(Lsn{102});
  EXPECT_TRUE(cache().Read(Page(1), too_much).ok());
  // It held nobody up.
  EXPECT_TRUE(cache().Write(Page(1), kNow).ok());
}

TEST_F(PageCacheSealTest, PagePastTheEndIsNotWhatWasExpected) {
  Start(4, 2);
  EXPECT_TRUE(absl::IsOutOfRange(ReadStatus(2, {.expected_lsn = Lsn{7}})));
  EXPECT_TRUE(absl::IsDataLoss(cache().Write(Page(2), {.expected_lsn = Lsn{7}}).status()));
  EXPECT_EQ(*cache().PageCount(file_), 2u);
  EXPECT_TRUE(cache().Make(Page(2), {.expected_lsn = Lsn{7}}).ok());
}

TEST_F(PageCacheSealTest, WithoutASealNoLsnCanBeExpected) {
  Start(4, 2);
  const FileId plain = *cache().OpenFile(scratch_.MakeFile("plain.db", FileText(2)));
  for (int look = 0; look < 2; ++look) {
    EXPECT_TRUE(
        absl::IsInvalidArgument(cache().Read({plain, 0}, {.expected_lsn = Lsn{1}}).status()));
    EXPECT_TRUE(
        absl::IsInvalidArgument(cache().Write({plain, 0}, {.expected_lsn = Lsn{1}}).status()));
    EXPECT_TRUE(cache().Read({plain, 0}).ok());
  }
}

// ---- Seals of the caller's ----

TEST_F(PageCacheSealTest, TakesASealOfTheCallers) {
  Start(4, 0);
  const auto seal = std::make_shared<SumSeal>();
  // A lock that is held during a call would be waited for here for ever.
  seal->during = [this] { (void)cache().PageCount(file_); };
  ASSERT_TRUE(cache().CloseFile(file_).ok());
  Open({.create = true, .seal = seal, .identity = 7});
  EXPECT_EQ(*cache().PayloadBytes(file_), kPageBytes - 24);
  for (uint64_t page = 0; page < 8; ++page) {
    WriteGuard guard = *cache().Make(Page(page));
    tests::Put(guard, PageText(page).substr(0, kPageBytes - 24));
    guard.set_lsn(Lsn{page + 1});
  }
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_EQ(seal->sealed, 8);
  ASSERT_TRUE(cache().CloseFile(file_).ok());
  Open({.seal = seal, .identity = 7});
  for (uint64_t page = 0; page < 8; ++page)
    EXPECT_EQ(cache().Read(Page(page))->lsn(), Lsn{page + 1});
  EXPECT_EQ(seal->verified, 8);
  // Whatever it calls its error.
  FlipBitOnDisk(path_, 0, 0);
  ExpectDataLoss(ReadStatus(0), "the sum is wrong");
  FlipBitOnDisk(path_, 0, 0);
  ASSERT_TRUE(cache().CloseFile(file_).ok());
  Open({.seal = seal, .identity = 8});
  ExpectDataLoss(ReadStatus(0), "the place is wrong");
  // It says that zeros are wrong, and is not believed.
  ASSERT_EQ(truncate(path_.c_str(), 9 * kPageBytes), 0);
  ASSERT_TRUE(cache().CloseFile(file_).ok());
  Open({.seal = seal, .identity = 7});
  EXPECT_TRUE(ReadStatus(8).ok());
}

TEST_F(PageCacheSealTest, KeepsTheSealAsLongAsTheFileIsOpen) {
  Start(4, 0);
  auto seal = std::make_shared<SumSeal>();
  const std::weak_ptr<const PageSeal> life = seal;
  const std::array files = {
      *cache().OpenFile(scratch_.File("a"), {.create = true, .seal = seal, .identity = 1}),
      *cache().OpenFile(scratch_.File("b"), {.create = true, .seal = seal, .identity = 2})};
  seal.reset();
  for (const FileId file : files) {
    EXPECT_TRUE(cache().Make({file, 3}).ok());
    EXPECT_FALSE(life.expired());
    ASSERT_TRUE(cache().CloseFile(file).ok());
  }
  EXPECT_TRUE(life.expired());
}

// A seal that leaves its trailer as it is.
class IdleSeal final : public PageSeal {
 public:
  explicit IdleSeal(uint32_t trailer_bytes) : trailer_bytes_(trailer_bytes) {}
  uint32_t trailer_bytes() const override { return trailer_bytes_; }
  void Seal(std::span<std::byte>, const Place&, Lsn) const override {}
  absl::StatusOr<Lsn> Verify(std::span<const std::byte>, const Place&) const override {
    return Lsn::kNone;
  }

 private:
  const uint32_t trailer_bytes_;
};

TEST_F(PageCacheSealTest, NoTrailerHasWhatTheFrameHeldBefore) {
  Start(1, 4);
  ExpectPage(1, 0, 101);
  const std::string path = scratch_.File("idle.db");
  const FileId file = *cache().OpenFile(
      path, {.create = true, .seal = std::make_shared<IdleSeal>(2048), .identity = 1});
  { const WriteGuard made = *cache().Make({file, 0}); }
  ASSERT_TRUE(cache().Flush(file).ok());
  EXPECT_TRUE(PageOnDisk(path, 0) == std::string(kPageBytes, '\0'));
}

TEST_F(PageCacheSealTest, RefusesSealsThatPagesHaveNoRoomFor) {
  Start(4, 1);
  const std::string path = scratch_.File("other.db");
  const auto open = [&](uint32_t trailer_bytes, uint64_t identity) {
    const absl::StatusOr<FileId> file = cache().OpenFile(
        path,
        {.create = true, .seal = std::make_shared<IdleSeal>(trailer_bytes), .identity = identity});
    if (file.ok()) {
      EXPECT_TRUE(cache().CloseFile(*file).ok());
    }
    return file.status();
  };
  EXPECT_TRUE(absl::IsInvalidArgument(open(12, 1)));
  EXPECT_TRUE(absl::IsInvalidArgument(open(2056, 1)));
  EXPECT_TRUE(absl::IsInvalidArgument(open(~uint32_t{7}, 1)));
  EXPECT_TRUE(absl::IsInvalidArgument(open(32, 0)));
  EXPECT_TRUE(open(2048, 1).ok());
  EXPECT_TRUE(open(0, 1).ok());
}

TEST_F(PageCacheSealTest, ReadOnlyFilesAreVerified) {
  Start(4, 2);
  FlipBitOnDisk(path_, 1, 3);
  ASSERT_TRUE(cache().CloseFile(file_).ok());
  FileOptions options = Sealed();
  options.create = false;
  options.read_only = true;
  Open(options);
  ExpectPage(0, 0, 100);
  EXPECT_TRUE(absl::IsDataLoss(ReadStatus(1)));
}

}  // namespace
}  // namespace fixpool::tests
