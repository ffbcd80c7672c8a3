// That scans are noticed and read ahead: what is read, and what becomes of errors. On an engine
// that does as it is told; on the kernel in page_cache_read_ahead_levels_test.cc.

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "fixpool/io/error.h"
#include "fixpool/storage/page_cache.h"
#include "gtest/gtest.h"
#include "tests/storage/cache_fixture.h"
#include "tests/support/seed.h"

namespace fixpool::tests {
namespace {

using io::IoOperation;
using storage::CacheStats;
using storage::PageCache;
using storage::PageId;
using storage::ReadGuard;

class PageCacheReadAheadTest : public FakeCacheTest {
 protected:
  static constexpr uint32_t kFrames = 512;  // so that 32 pages are read ahead at most

  void StartJoining(uint64_t pages, uint32_t frames = kFrames) {
    Start(frames, pages, {.depth = 16, .joined_depth = 8});
  }
  void Scan(uint64_t first, uint64_t end) {
    for (uint64_t page = first; page < end; ++page) ExpectVersion(page, 0);
  }
  // Which pages were read, in order; each transfer's together.
  std::vector<std::vector<uint64_t>> Transfers() {
    const std::vector<uint64_t> offsets = engine().Offsets(IoOperation::kRead);
    const std::vector<size_t> pieces = engine().Pieces(IoOperation::kRead);
    std::vector<std::vector<uint64_t>> transfers;
    for (size_t i = 0; i < offsets.size(); ++i) {
      transfers.emplace_back(pieces[i]);
      std::iota(transfers.back().begin(), transfers.back().end(), offsets[i] / kPageBytes);
    }
    return transfers;
  }
  std::vector<uint64_t> PagesRead() {
    std::vector<uint64_t> pages;
    for (const auto& transfer : Transfers()) {
      pages.insert(pages.end(), transfer.begin(), transfer.end());
    }
    return pages;
  }
};

TEST_F(PageCacheReadAheadTest, ScanIsReadInJoinedTransfersEachPageOnceAndNoneBeyondTheEnd) {
  StartJoining(400);
  Scan(0, 400);
  std::vector<uint64_t> pages = PagesRead();
  std::sort(pages.begin(), pages.end());
  std::vector<uint64_t> all(400);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(pages, all);
  // Four by themselves, 16, and then 8 or more at a time.
  EXPECT_LE(Transfers().size(), 4 + 1 + 384 / 8);
  const CacheStats stats = cache().Stats();
  EXPECT_EQ(stats.reads, 400u);
  EXPECT_EQ(stats.read_ahead, 396u);
  EXPECT_EQ(stats.read_ahead_wasted, 0u);
  EXPECT_EQ(stats.prefetches, 0u);
  const auto transfers = Transfers();
  EXPECT_EQ(stats.joined_reads,
            std::count_if(transfers.begin(), transfers.end(),
                          [](const auto& transfer) { return transfer.size() > 1; }));
  EXPECT_TRUE(absl::StrContains(cache().Describe(), "396 ahead for scans")) << cache().Describe();
}

TEST_F(PageCacheReadAheadTest, PagesComeBeforeTheyAreAskedFor) {
  StartJoining(400);
  engine().Hold({.operation = IoOperation::kRead, .offset_bytes = 4 * kPageBytes});
  Scan(0, 4);
  // It has not waited for them.
  EXPECT_EQ(engine().in_flight(), 1u);
  EXPECT_EQ(Transfers().back().size(), 16u);
  engine().ReleaseAll();
  Scan(4, 5);
  EXPECT_GT(Transfers().back().back(), 19u);
  const uint64_t read = cache().Stats().reads;
  Scan(5, 8);
  EXPECT_EQ(cache().Stats().reads, read) << "a step for every page";
}

TEST_F(PageCacheReadAheadTest, AccessAtRandomReadsNothingAhead) {
  StartJoining(3'000);
  std::mt19937_64 random(Seed());
  uint64_t before = 0, run = 0;
  for (int i = 0; i < 2'000; ++i) {
    uint64_t page = random() % 3'000;
    // Some in a row do come about.
    run = page == before + 1 ? run + 1 : 0;
    if (run == 3) page = 0;
    before = page;
    ASSERT_TRUE(cache().Read(Page(page)).ok());
  }
  EXPECT_EQ(cache().Stats().read_ahead, 0u);
  EXPECT_EQ(cache().Stats().joined_reads, 0u);
}

TEST_F(PageCacheReadAheadTest, CanBeTurnedOffAndIsOffInSmallCaches) {
  Start(kFrames, 100, {.depth = 16, .joined_depth = 8}, /*read_ahead_bytes=*/0);
  Scan(0, 100);
  EXPECT_EQ(cache().Stats().read_ahead, 0u);
  stack_.reset();
  StartJoining(100, 127);
  Scan(0, 100);
  EXPECT_EQ(cache().Stats().read_ahead, 0u);
}

TEST_F(PageCacheReadAheadTest, OptionBoundsTheWindow) {
  Start(kFrames, 400, {.depth = 16, .joined_depth = 8}, /*read_ahead_bytes=*/16 * kPageBytes);
  Scan(0, 400);
  for (const auto& transfer : Transfers()) EXPECT_LE(transfer.size(), 16u);
  EXPECT_EQ(cache().Stats().read_ahead, 396u) << ::testing::PrintToString(Transfers());
}

TEST_F(PageCacheReadAheadTest, WorksWithAnEngineThatJoinsNothing) {
  Start(kFrames, 400, {.depth = 64});
  Scan(0, 400);
  EXPECT_EQ(cache().Stats().joined_reads, 0u);
  EXPECT_EQ(cache().Stats().reads, 400u);
  EXPECT_GT(cache().Stats().read_ahead, 350u);
}

TEST_F(PageCacheReadAheadTest, WhatIsInMemorySplitsATransferAndIsNotReadAgain) {
  StartJoining(60);
  for (const uint64_t page : {5, 10, 11}) ASSERT_TRUE(cache().Read(Page(page)).ok());
  Scan(0, 60);
  EXPECT_EQ(cache().Stats().reads, 60u);
  for (const auto& transfer : Transfers()) {
    if (transfer.size() == 1) continue;
    for (const uint64_t page : {5, 10, 11}) {
      EXPECT_EQ(std::count(transfer.begin(), transfer.end(), page), 0);
    }
  }
}

TEST_F(PageCacheReadAheadTest, ChangesInMemoryAreNotReadOver) {
  StartJoining(60);
  Change(20);
  Scan(0, 20);
  ExpectVersion(20, 1);
  Scan(21, 60);
}

TEST_F(PageCacheReadAheadTest, SeveralScansOfOneFileAndWriters) {
  StartJoining(1'200);
  for (uint64_t step = 0; step < 300; ++step) {
    for (uint64_t scan = 0; scan < 4; ++scan) {
      const uint64_t page = scan * 300 + step;
      if (scan == 3) {
        Change(page);  // each page of it is read first
      } else {
        ExpectVersion(page, 0);
      }
    }
  }
  EXPECT_GT(cache().Stats().read_ahead, 1'000u);
  for (uint64_t page = 900; page < 1'200; ++page) ExpectVersion(page, 1);
}

TEST_F(PageCacheReadAheadTest, RestOfAPartialLastPageIsZeros) {
  StartJoining(40);
  ASSERT_TRUE(cache().CloseFile(file_).ok());
  const std::string text = FileText(40);
  path_ = scratch_.MakeFile("partial.db", text.substr(0, 39 * kPageBytes + 100));
  file_ = *cache().OpenFile(path_);
  Scan(0, 39);
  const auto last = cache().Read(Page(39));
  ASSERT_TRUE(last.ok()) << last.status();
  EXPECT_EQ(Text(last->bytes()),
            text.substr(39 * kPageBytes, 100) + std::string(kPageBytes - 100, '\0'));
  EXPECT_GT(Transfers().back().size(), 1u);
}

// The file is shorter than its pages, because somebody cut it.
TEST_F(PageCacheReadAheadTest, PagesThatAreNotThereAnyMoreAreZeros) {
  StartJoining(40);
  ASSERT_EQ(truncate(path_.c_str(), 10 * kPageBytes + 5), 0);
  Scan(0, 10);
  for (uint64_t page = 11; page < 40; ++page) {
    const auto guard = cache().Read(Page(page));
    ASSERT_TRUE(guard.ok()) << guard.status();
    EXPECT_EQ(Text(guard->bytes()), std::string(kPageBytes, '\0')) << page;
  }
}

// ---- Errors ----

TEST_F(PageCacheReadAheadTest, ErrorReachesWhoAsksForThatPageAndNobodyElse) {
  StartJoining(400);
  for (const uint64_t bad : {30, 31, 200}) {
    engine().Fail({.operation = IoOperation::kRead, .offset_bytes = bad * kPageBytes},
                  io::ErrnoStatus(EIO, "the test"), FakeEngine::kAlways);
  }
  for (uint64_t page = 0; page < 400; ++page) {
    const absl::StatusOr<ReadGuard> guard = cache().Read(Page(page));
    if (page == 30 || page == 31 || page == 200) {
      EXPECT_EQ(io::ErrnoOf(guard.status()), EIO) << page << ": " << guard.status();
      continue;
    }
    ASSERT_TRUE(guard.ok()) << page << ": " << guard.status();
    EXPECT_EQ(Text(guard->bytes()), PageText(page));
  }
  EXPECT_GT(cache().Stats().read_ahead, 300u);
  EXPECT_GT(cache().Stats().read_errors, 3u);  // joined ones among them
  // And nothing of it is left.
  engine().FailNothing();
  Scan(0, 400);
  EXPECT_EQ(cache().Stats().pinned_frames, 0u);
  EXPECT_EQ(cache().Stats().in_flight_frames, 0u);
}

TEST_F(PageCacheReadAheadTest, JoinedReadThatTheEngineRefusesIsNobodysError) {
  StartJoining(100);
  Scan(0, 3);
  // The read of the page itself goes first.
  engine().TakeAtMost(1);
  engine().BeforeSubmit([this, calls = 0]() mutable {
    if (++calls == 2) engine().RefuseNext(absl::InternalError("the test"));
  });
  Scan(3, 100);
  EXPECT_EQ(cache().Stats().read_errors, 1u);
  EXPECT_EQ(cache().Stats().in_flight_frames, 0u);
}

TEST_F(PageCacheReadAheadTest, FullEngineHoldsUpNobody) {
  StartJoining(200);
  engine().LowerDepth(1);
  Scan(0, 200);
  EXPECT_EQ(cache().Stats().reads, 200u);
}

TEST_F(PageCacheReadAheadTest, HeldFramesAreLeftAlone) {
  StartJoining(2 * kFrames);
  std::vector<ReadGuard> held;
  for (uint64_t page = 0; page < kFrames - 4; ++page) {
    held.push_back(*cache().Read(Page(2 * kFrames - 1 - page)));
  }
  Scan(0, 100);
  held.clear();
  Scan(100, 400);
  EXPECT_GT(cache().Stats().read_ahead, 250u);
}

// ---- Files and marks ----

TEST_F(PageCacheReadAheadTest, FileCanBeClosedInTheMiddleOfAScan) {
  StartJoining(400);
  for (int round = 0; round < 3; ++round) {
    Scan(0, 100);
    EXPECT_GT(engine().in_flight() + cache().Stats().clean_frames, 100u);
    ASSERT_TRUE(cache().CloseFile(file_).ok());
    EXPECT_EQ(cache().Stats().free_frames, kFrames);
    file_ = *cache().OpenFile(path_);
  }
  Scan(0, 400);
}

TEST_F(PageCacheReadAheadTest, WhatIsReadInVainIsCountedAndLeavesNoTrace) {
  StartJoining(3 * kFrames);
  Scan(0, 50);
  const uint64_t ahead = cache().Stats().read_ahead + 4 - 50;
  EXPECT_GE(ahead, 8u);
  // All of it leaves, marked pages among it. Downwards, which is no scan.
  for (uint64_t page = 3 * kFrames; page-- > 2 * kFrames - 200;) {
    ASSERT_TRUE(cache().Read(Page(page)).ok());
  }
  // How far the scan has come is known as far as the last mark.
  EXPECT_GE(cache().Stats().read_ahead_wasted, ahead);
  EXPECT_LE(cache().Stats().read_ahead_wasted, ahead + 16);
  // The frames are as good as others: hits on their new pages need no lock.
  const uint64_t last = 2 * kFrames - 200;
  for (uint64_t page = last; page < last + 300; ++page) {
    EXPECT_TRUE(cache().TryRead(Page(page)).has_value()) << page;
  }
  // And the scan goes on.
  Scan(50, 200);
}

// A mark is a detour for one access. Afterwards the page's word is everybody's again.
TEST_F(PageCacheReadAheadTest, MarkedPagesCanBeWrittenFlushedAndUpgraded) {
  StartJoining(200);
  for (uint64_t page = 0; page < 200; ++page) {
    absl::StatusOr<ReadGuard> guard = cache().Read(Page(page));
    ASSERT_TRUE(guard.ok());
    std::optional<storage::WriteGuard> writer = guard->TryUpgrade();
    ASSERT_TRUE(writer.has_value()) << page;
    Put(*writer, PageText(page, 1));
  }
  ASSERT_TRUE(cache().Flush(file_).ok());
  for (uint64_t page = 0; page < 200; ++page) ExpectVersion(page, 1);
}

// ---- Prefetch and ReadMany ----

TEST_F(PageCacheReadAheadTest, PrefetchJoinsAdjacentPages) {
  StartJoining(400);
  std::vector<PageId> pages;
  for (const uint64_t page : {7, 8, 9, 50, 20, 21, 300, 22}) pages.push_back(Page(page));
  EXPECT_EQ(*cache().Prefetch(pages), 8u);
  EXPECT_EQ(Transfers(),
            (std::vector<std::vector<uint64_t>>{{7, 8, 9}, {50}, {20, 21}, {300}, {22}}));
  for (const PageId& page : pages) ExpectVersion(page.page_number, 0);
  EXPECT_EQ(cache().Stats().prefetches, 8u);
  EXPECT_EQ(cache().Stats().joined_reads, 2u);
  EXPECT_EQ(*cache().Prefetch(pages), 0u);
}

TEST_F(PageCacheReadAheadTest, PrefetchPassesOverWhatIsThereAndWhatIsNotInTheFile) {
  StartJoining(40);
  ASSERT_TRUE(cache().Read(Page(35)).ok());
  std::vector<PageId> pages;
  for (uint64_t page = 30; page < 50; ++page) pages.push_back(Page(page));
  EXPECT_EQ(*cache().Prefetch(pages), 9u);
  Scan(30, 40);
}

TEST_F(PageCacheReadAheadTest, PrefetchOfMoreThanATransferTakesSeveral) {
  StartJoining(700, 1'024);
  std::vector<PageId> pages;
  for (uint64_t page = 0; page < 700; ++page) pages.push_back(Page(page));
  EXPECT_EQ(*cache().Prefetch(pages), 700u);
  std::vector<size_t> sizes;
  for (const auto& transfer : Transfers()) sizes.push_back(transfer.size());
  EXPECT_EQ(sizes, (std::vector<size_t>{256, 256, 188}));
  Scan(0, 700);
}

TEST_F(PageCacheReadAheadTest, WhoPrefetchesPageAfterPageScans) {
  StartJoining(400);
  for (uint64_t page = 0; page < 400; page += 4) {
    const PageId next[] = {Page(page), Page(page + 1), Page(page + 2), Page(page + 3)};
    ASSERT_TRUE(cache().Prefetch(next).ok());
    if (page >= 8) Scan(page - 8, page - 4);
  }
  EXPECT_GT(cache().Stats().read_ahead, 350u);
  EXPECT_EQ(cache().Stats().reads, 400u);
}

TEST_F(PageCacheReadAheadTest, ReadManyJoinsAndEachPageHasItsOwnError) {
  StartJoining(100);
  engine().Fail({.operation = IoOperation::kRead, .offset_bytes = 12 * kPageBytes},
                io::ErrnoStatus(EIO, "the test"), FakeEngine::kAlways);
  std::vector<PageId> pages;
  for (uint64_t page = 10; page < 20; ++page) pages.push_back(Page(page));
  std::vector<absl::StatusOr<ReadGuard>> guards(pages.size());
  EXPECT_EQ(cache().ReadMany(pages, absl::MakeSpan(guards)), 9u);
  EXPECT_EQ(Transfers().front().size(), 10u);
  for (uint64_t i = 0; i < 10; ++i) {
    if (i == 2) {
      EXPECT_EQ(io::ErrnoOf(guards[i].status()), EIO) << guards[i].status();
    } else {
      ASSERT_TRUE(guards[i].ok()) << i << ": " << guards[i].status();
      EXPECT_EQ(Text(guards[i]->bytes()), PageText(10 + i));
    }
  }
}

// ---- What a scan does to others ----

// Of 2000 accesses to a set of pages that fits in the cache, while a scan of 8000 pages goes by:
// how many were misses.
uint64_t MissesBesideAScan(size_t read_ahead_bytes, uint64_t seed) {
  ManualEnvironment environment;
  ScratchDirectory scratch;
  FakeStack stack(&environment, 1'024, {.depth = 16, .joined_depth = 8}, read_ahead_bytes);
  PageCache& cache = *stack.cache;
  const storage::FileId hot = *cache.OpenFile(scratch.MakeFile("hot", FileText(500)));
  const storage::FileId cold = *cache.OpenFile(scratch.MakeFile("cold", FileText(8'000)));
  std::mt19937_64 random(seed);
  const auto use = [&] { EXPECT_TRUE(cache.Read({hot, random() % 500}).ok()); };
  for (int i = 0; i < 20'000; ++i) use();
  const uint64_t before = cache.Stats().reads;
  for (uint64_t page = 0; page < 8'000; ++page) {
    EXPECT_TRUE(cache.Read({cold, page}).ok());
    if (page % 4 == 0) use();
  }
  return cache.Stats().reads - before - 8'000;
}

TEST_F(PageCacheReadAheadTest, ScanThatIsReadAheadWashesOutNoMoreThanOneThatIsNot) {
  const uint64_t seed = Seed();
  const uint64_t without = MissesBesideAScan(0, seed);
  const uint64_t with = MissesBesideAScan(PageCache::kDefaultReadAheadBytes, seed);
  std::printf("misses of others: %llu, and without read-ahead %llu\n",
              static_cast<unsigned long long>(with), static_cast<unsigned long long>(without));
  EXPECT_LE(with, without * 11 / 10 + 20);
}

}  // namespace
}  // namespace fixpool::tests
