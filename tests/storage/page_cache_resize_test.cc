// A cache that becomes larger and smaller while it is used: with an engine that does as it is told,
// then on the real kernel.

#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/config.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "fixpool/arena/page_arena.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/storage/cache_progress.h"
#include "fixpool/storage/coroutine_frames.h"
#include "fixpool/storage/page_cache.h"
#include "fixpool/storage/task.h"
#include "fixpool/storage/task_scheduler.h"
#include "gtest/gtest.h"
#include "tests/storage/cache_fixture.h"
#include "tests/storage/level_fixture.h"
#include "tests/support/fake_buffer_table.h"
#include "tests/support/fake_engine.h"
#include "tests/support/manual_environment.h"
#include "tests/support/process_memory.h"
#include "tests/support/scratch.h"

namespace fixpool::tests {
namespace {

using io::IoOperation;
using storage::CacheStats;
using storage::FileId;
using storage::OptimisticGuard;
using storage::PageCache;
using storage::PageId;
using storage::PolicyKind;
using storage::ReadGuard;
using storage::WriteGuard;

constexpr uint32_t kRegionFrames = 8;
constexpr size_t kRegionBytes = size_t{kRegionFrames} * kPageBytes;
constexpr uint64_t kPages = 64;  // of the file

// One thread, and regions of 8 frames.
class PageCacheResizeTest : public ::testing::Test {
 protected:
  struct Setting {
    PolicyKind policy = PolicyKind::kS3Fifo;
    uint32_t slots = 1024;   // of the registry
    size_t frame_count = 0;  // of the arena's; 0: all
  };

  void Start(uint32_t regions, const Setting& setting) {
    cache_.reset();
    engine_.reset();
    arena_.reset();
    path_ = scratch_.MakeFile("data.db", FileText(kPages));
    registry_ =
        *io::FixedBufferRegistry::Create({.capacity = setting.slots, .environment = &environment_});
    arena_ = *arena::PageArena::Create(registry_.get(), {.size_bytes = regions * kRegionBytes,
                                                         .ladder = OrdinaryPages(),
                                                         .region_bytes = kRegionBytes});
    engine_ = std::make_unique<FakeEngine>(registry_.get(), FakeEngine::Options());
    cache_ = *PageCache::Create(
        arena_.get(), engine_.get(),
        {.frame_count = setting.frame_count, .policy = setting.policy, .free_frames = 0});
    file_ = *cache().OpenFile(path_);
  }
  void Start(uint32_t regions) { Start(regions, Setting()); }

  PageCache& cache() { return *cache_; }
  FakeEngine& engine() { return *engine_; }
  PageId Page(uint64_t page_number) const { return {file_, page_number}; }
  absl::Status Resize(uint32_t regions) {
    return cache().Resize(regions * kRegionBytes, absl::Seconds(10));
  }

  void Change(uint64_t page_number, uint64_t version = 1) {
    absl::StatusOr<WriteGuard> page = cache().Write(Page(page_number));
    ASSERT_TRUE(page.ok()) << page.status();
    Put(*page, PageText(page_number, version));
  }
  void ExpectVersion(uint64_t page_number, uint64_t version = 0) {
    absl::StatusOr<ReadGuard> page = cache().Read(Page(page_number));
    ASSERT_TRUE(page.ok()) << page.status();
    EXPECT_TRUE(Text(page->bytes()) == PageText(page_number, version)) << "page " << page_number;
  }
  void ExpectVersions(uint64_t version) {
    for (uint64_t page = 0; page < kPages; ++page) ExpectVersion(page, version);
  }
  void ExpectOnDisk(uint64_t version) {
    std::string expected;
    for (uint64_t page = 0; page < kPages; ++page) expected += PageText(page, version);
    EXPECT_TRUE(ReadWholeFile(path_) == expected);
  }
  void ExpectFrames(uint32_t frames) {
    EXPECT_EQ(cache().frame_count(), frames);
    const CacheStats stats = cache().Stats();
    EXPECT_EQ(stats.frame_count, frames);
    EXPECT_EQ(stats.free_frames + stats.clean_frames + stats.dirty_frames + stats.in_flight_frames,
              frames);
    EXPECT_EQ(arena_->page_count(), frames);
  }

  ManualEnvironment environment_;
  ScratchDirectory scratch_;
  std::string path_;
  std::unique_ptr<io::FixedBufferRegistry> registry_;
  std::unique_ptr<arena::PageArena> arena_;
  std::unique_ptr<FakeEngine> engine_;
  std::unique_ptr<PageCache> cache_;
  FileId file_;
};

// ---- What is kept ----

TEST_F(PageCacheResizeTest, GrowsAndShrinksByEightWithItsContents) {
  for (const PolicyKind policy : {PolicyKind::kS3Fifo, PolicyKind::kClock, PolicyKind::kLru}) {
    Start(1, {.policy = policy});
    for (int round = 0; round < 5; ++round) {
      ExpectVersions(0);
      ASSERT_TRUE(Resize(8).ok());
      ExpectFrames(64);
      ExpectVersions(0);
      const uint64_t reads = engine().Count(IoOperation::kRead);
      ExpectVersions(0);
      EXPECT_EQ(engine().Count(IoOperation::kRead), reads);
      ASSERT_TRUE(Resize(1).ok());
      ExpectFrames(8);
    }
  }
}

// With CLOCK most of them: a page that moves may meet the hand once more.
TEST_F(PageCacheResizeTest, PagesThatAreAskedForStay) {
  for (const PolicyKind policy : {PolicyKind::kS3Fifo, PolicyKind::kLru}) {
    Start(8, {.policy = policy});
    ExpectVersions(0);
    for (int hit = 0; hit < 3; ++hit) {
      for (uint64_t page = 0; page < kPages; page += 13) ExpectVersion(page);
    }
    ASSERT_TRUE(Resize(1).ok());
    EXPECT_GT(cache().Stats().moves, 0u);
    const uint64_t reads = engine().Count(IoOperation::kRead);
    for (uint64_t page = 0; page < kPages; page += 13) ExpectVersion(page);
    EXPECT_EQ(engine().Count(IoOperation::kRead), reads) << static_cast<int>(policy);
  }
}

TEST_F(PageCacheResizeTest, ChangedPagesReachTheDisk) {
  Start(8);
  for (uint64_t page = 0; page < kPages; ++page) Change(page);
  ASSERT_TRUE(Resize(1).ok());
  ExpectFrames(8);
  EXPECT_GE(engine().Count(IoOperation::kWrite), kPages - 8);
  ExpectVersions(1);
  ASSERT_TRUE(cache().Flush(file_).ok());
  ExpectOnDisk(1);
}

TEST_F(PageCacheResizeTest, FlushMissesNoPageThatMoves) {
  Start(8);
  for (uint64_t page = 0; page < kPages; ++page) Change(page);
  bool inside = false;
  absl::Status status;
  engine().BeforeSubmit([&] {
    if (inside) return;
    inside = true;
    status = cache().Resize(4 * kRegionBytes, absl::Seconds(1));
  });
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_TRUE(status.ok() || absl::IsDeadlineExceeded(status)) << status;
  ExpectOnDisk(1);
  ASSERT_TRUE(Resize(1).ok());
  ExpectVersions(1);
}

TEST_F(PageCacheResizeTest, FileCanBeClosedAndOpenedInBetween) {
  Start(8);
  for (uint64_t page = 0; page < kPages; ++page) Change(page);
  ASSERT_TRUE(Resize(2).ok());
  ASSERT_TRUE(cache().CloseFile(file_).ok());
  ASSERT_TRUE(Resize(8).ok());
  file_ = *cache().OpenFile(path_);
  ExpectVersions(1);
  ExpectFrames(64);
}

// ---- Sizes ----

TEST_F(PageCacheResizeTest, SizesAreRoundedUpToRegions) {
  Start(2);
  const auto frames_after = [this](size_t memory_bytes) {
    EXPECT_TRUE(cache().Resize(memory_bytes).ok());
    return cache().frame_count();
  };
  EXPECT_EQ(frames_after(2 * kRegionBytes), 16u);
  EXPECT_EQ(frames_after(2 * kRegionBytes + 1), 24u);
  EXPECT_EQ(frames_after(3 * kRegionBytes - kPageBytes), 24u);
  EXPECT_EQ(frames_after(2 * kRegionBytes + 1), 24u);
  EXPECT_EQ(frames_after(2 * kRegionBytes), 16u);
  EXPECT_EQ(frames_after(1), 8u);
  EXPECT_EQ(frames_after(1), 8u);
}

TEST_F(PageCacheResizeTest, NoMemoryAtAll) {
  Start(2);
  EXPECT_TRUE(absl::IsInvalidArgument(cache().Resize(0)));
  ExpectFrames(16);
}

TEST_F(PageCacheResizeTest, MoreThanTheTablesHold) {
  Start(2);
  for (const size_t memory_bytes : {size_t{1} << 40, ~size_t{0}}) {
    const absl::Status status = cache().Resize(memory_bytes);
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "max_memory_bytes")) << status;
  }
  ExpectFrames(16);
  ExpectVersions(0);
}

TEST(PageCacheResizeOptionsTest, NoFurtherThanTheOptionsSay) {
  constexpr size_t kMiB = size_t{1} << 20;
  const auto cache = PageCache::Create(
      {.memory_bytes = 4 * kMiB, .max_memory_bytes = 8 * kMiB, .ladder = OrdinaryPages()});
  ASSERT_TRUE(cache.ok()) << cache.status();
  const absl::Status status = (*cache)->Resize(10 * kMiB);
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "at most 2048 frames")) << status;
  EXPECT_EQ((*cache)->frame_count(), 1024u);
  EXPECT_TRUE((*cache)->Resize(8 * kMiB).ok());
  EXPECT_EQ((*cache)->frame_count(), 2048u);
}

TEST_F(PageCacheResizeTest, NoSlotsForMoreRegions) {
  Start(2, {.slots = 4});
  const absl::Status status = Resize(5);
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "PageCache::Resize")) << status;
  ExpectFrames(16);
  ASSERT_TRUE(Resize(4).ok());
  ExpectFrames(32);
  ExpectVersions(0);
}

TEST_F(PageCacheResizeTest, RegionThatARingKeepsIsLost) {
  Start(3);
  ExpectVersions(0);
  FakeBufferTable table;
  ASSERT_TRUE(registry_->Attach(&table).ok());
  table.RefuseToClear(true);
  const absl::Status status = Resize(2);
  EXPECT_TRUE(absl::IsInternal(status)) << status;
  table.RefuseToClear(false);
  registry_->Abandon(&table);
  ExpectFrames(16);
  ExpectVersions(0);
  ASSERT_TRUE(Resize(3).ok());
  ExpectFrames(24);
  ExpectVersions(0);
}

TEST_F(PageCacheResizeTest, CacheThatHasNotAllOfTheArena) {
  Start(2, {.frame_count = 12});
  for (const uint32_t regions : {1, 2, 4}) {
    EXPECT_TRUE(absl::IsFailedPrecondition(Resize(regions)));
  }
  EXPECT_EQ(cache().frame_count(), 12u);
  EXPECT_EQ(arena_->page_count(), 16u);
  ExpectVersions(0);
}

// ---- What is waited for ----

TEST_F(PageCacheResizeTest, HeldPagesAreWaitedForUntilTheDeadline) {
  Start(8);
  std::vector<ReadGuard> guards;
  for (uint64_t page = 0; page < kPages; ++page) guards.push_back(*cache().Read(Page(page)));
  const int64_t before_ns = environment_.NowNs();
  const absl::Status status = Resize(1);
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "held by guards")) << status;
  EXPECT_GE(environment_.NowNs() - before_ns, absl::ToInt64Nanoseconds(absl::Seconds(10)));
  ExpectFrames(64);
  for (const ReadGuard& guard : guards) {
    EXPECT_TRUE(Text(guard.bytes()) == PageText(guard.page_id().page_number));
  }
  // One is enough.
  guards.erase(guards.begin(), guards.end() - 1);
  ExpectVersions(0);
  // It may be in the region that stays.
  const absl::Status again = Resize(1);
  EXPECT_TRUE(again.ok() || absl::IsDeadlineExceeded(again)) << again;
  guards.clear();
  ASSERT_TRUE(Resize(1).ok());
  ExpectFrames(8);
  ExpectVersions(0);
}

TEST_F(PageCacheResizeTest, AllFramesAreOfUseAgainAfterADeadline) {
  Start(8);
  for (uint64_t page = 0; page < kPages; ++page) Change(page);
  std::vector<ReadGuard> guards;
  for (uint64_t page = 0; page < kPages; page += 2) guards.push_back(*cache().Read(Page(page)));
  ASSERT_TRUE(absl::IsDeadlineExceeded(Resize(1)));
  ExpectFrames(64);
  EXPECT_EQ(cache().Stats().pinned_frames, guards.size());
  guards.clear();
  ExpectVersions(1);
  const uint64_t reads = engine().Count(IoOperation::kRead);
  ExpectVersions(1);  // all in memory
  EXPECT_EQ(engine().Count(IoOperation::kRead), reads);
}

TEST_F(PageCacheResizeTest, ReadsInFlightAreWaitedFor) {
  Start(8);
  engine().Hold({.operation = IoOperation::kRead});
  std::vector<PageId> pages;
  for (uint64_t page = 0; page < 16; ++page) pages.push_back(Page(page));
  ASSERT_EQ(*cache().Prefetch(pages), pages.size());
  // All in the first two regions, of which one must go.
  EXPECT_TRUE(absl::IsDeadlineExceeded(Resize(1)));
  ExpectFrames(64);
  engine().ReleaseAll();
  ASSERT_TRUE(Resize(1).ok());
  ExpectFrames(8);
  ExpectVersions(0);
}

TEST_F(PageCacheResizeTest, ReadThatFailsInALeavingFrame) {
  Start(8);
  engine().Fail({.operation = IoOperation::kRead}, absl::DataLossError("the test"), 16);
  std::vector<PageId> pages;
  for (uint64_t page = 0; page < 16; ++page) pages.push_back(Page(page));
  ASSERT_EQ(*cache().Prefetch(pages), pages.size());
  ASSERT_TRUE(Resize(1).ok());
  ExpectFrames(8);
  EXPECT_EQ(cache().Stats().read_errors, 16u);
  ExpectVersions(0);
}

TEST_F(PageCacheResizeTest, WhatCannotBeWrittenStays) {
  Start(8);
  for (uint64_t page = 0; page < kPages; ++page) Change(page);
  engine().Fail({.operation = IoOperation::kWrite}, absl::DataLossError("the test"),
                FakeEngine::kAlways);
  const absl::Status status = Resize(1);
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  ExpectFrames(64);
  EXPECT_EQ(cache().Stats().dirty_frames, kPages);
  ExpectVersions(1);
  engine().FailNothing();
  ASSERT_TRUE(Resize(1).ok());
  ASSERT_TRUE(cache().Flush(file_).ok());
  ExpectOnDisk(1);
}

// As many as there is room for: these move.
TEST_F(PageCacheResizeTest, PagesThatCannotBeWrittenMove) {
  Start(8);
  ExpectVersions(0);
  for (uint64_t page = 0; page < 8; ++page) Change(page * 8);
  engine().Fail({.operation = IoOperation::kWrite}, absl::DataLossError("the test"),
                FakeEngine::kAlways);
  ASSERT_FALSE(cache().Flush(file_).ok());
  ASSERT_TRUE(Resize(1).ok());
  ExpectFrames(8);
  EXPECT_EQ(cache().Stats().failing_frames, 8u);
  for (uint64_t page = 0; page < 8; ++page) ExpectVersion(page * 8, 1);
  engine().FailNothing();
  ASSERT_TRUE(cache().Flush(file_).ok());
  for (uint64_t page = 0; page < kPages; ++page) ExpectVersion(page, page % 8 == 0 ? 1 : 0);
}

TEST_F(PageCacheResizeTest, AnotherOneAtTheSameTime) {
  Start(8);
  for (uint64_t page = 0; page < kPages; ++page) Change(page);
  std::vector<absl::Status> others;
  engine().BeforeSubmit([&] { others.push_back(Resize(2)); });
  ASSERT_TRUE(Resize(1).ok());
  ASSERT_FALSE(others.empty());
  for (const absl::Status& status : others) {
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "another one")) << status;
  }
  ExpectFrames(8);
}

// ---- What others meet meanwhile ----

TEST_F(PageCacheResizeTest, OptimisticGuardTurnsInvalidAndNeverFaults) {
  Start(8);
  for (int round = 0; round < 3; ++round) {
    std::vector<OptimisticGuard> looks;
    for (uint64_t page = 0; page < kPages; ++page) {
      looks.push_back(*cache().ReadOptimistic(Page(page)));
    }
    ASSERT_TRUE(Resize(1).ok());
    uint64_t valid = 0;
    for (uint64_t page = 0; page < kPages; ++page) {
      std::vector<std::byte> bytes(kPageBytes);
      looks[page].view().CopyTo(0, std::span(bytes));
      (void)looks[page].view().Load<uint64_t>(8);
      if (!looks[page].StillValid()) continue;
      ++valid;
      EXPECT_TRUE(Text(bytes) == PageText(page));
    }
    EXPECT_LE(valid, 8u);
    // The same addresses and numbers, with other lives of the same pages in them.
    ASSERT_TRUE(Resize(8).ok());
    ExpectVersions(0);
    uint64_t still_valid = 0;
    for (const OptimisticGuard& look : looks) still_valid += look.StillValid() ? 1 : 0;
    EXPECT_LE(still_valid, valid);
  }
}

TEST_F(PageCacheResizeTest, ReadManyTakesAsManyAsThereAreFrames) {
  Start(1);
  std::vector<PageId> pages;
  for (uint64_t page = 0; page < 32; ++page) pages.push_back(Page(page));
  std::vector<absl::StatusOr<ReadGuard>> guards(pages.size());
  EXPECT_EQ(cache().ReadMany(pages, absl::MakeSpan(guards)), 0u);
  EXPECT_TRUE(absl::IsInvalidArgument(guards[0].status()));
  ASSERT_TRUE(Resize(4).ok());
  EXPECT_EQ(cache().ReadMany(pages, absl::MakeSpan(guards)), 32u);
}

storage::Task<absl::Status> Look(storage::TaskScheduler&, PageCache& cache, PageId page) {
  const absl::StatusOr<ReadGuard> guard = co_await cache.ReadAsync(page);
  if (!guard.ok()) co_return guard.status();
  EXPECT_TRUE(Text(guard->bytes()) == PageText(page.page_number));
  co_return absl::OkStatus();
}

storage::Task<absl::Status> GrowTo(storage::TaskScheduler&, PageCache& cache, uint32_t regions) {
  co_return cache.Resize(regions * kRegionBytes);
}

TEST_F(PageCacheResizeTest, TasksThatWaitForFramesGetNewOnes) {
  Start(1);
  std::vector<ReadGuard> held;
  for (uint64_t page = 0; page < 8; ++page) held.push_back(*cache().Read(Page(page)));
  const auto frames = *storage::CoroutineFrames::Create({.frame_count = 16, .frame_bytes = 4096});
  storage::CacheProgress progress(&cache());
  storage::TaskScheduler scheduler(frames.get(), &progress, &environment_);
  std::vector<storage::Task<absl::Status>> tasks;
  for (uint64_t page = 20; page < 25; ++page) tasks.push_back(Look(scheduler, cache(), Page(page)));
  tasks.push_back(GrowTo(scheduler, cache(), 2));
  std::vector<absl::Status> results(tasks.size(), absl::UnknownError("not set"));
  const int64_t before_ns = environment_.NowNs();
  ASSERT_TRUE(scheduler.RunConcurrently(absl::MakeSpan(tasks), absl::MakeSpan(results), {}).ok());
  for (const absl::Status& status : results) EXPECT_TRUE(status.ok()) << status;
  EXPECT_LT(environment_.NowNs() - before_ns, absl::ToInt64Nanoseconds(absl::Seconds(1)));
}

// ---- Caches with memory of their own, on the real kernel ----

class PageCacheResizeLevelsTest : public LevelTest {
 protected:
  static constexpr size_t kMiB = size_t{1} << 20;

  void StartOwn(PageCache::Options options) {
    options.ladder = OrdinaryPages();
    options.engine = {.depth = 32, .require = GetParam()};
    options.environment = &environment_;
    absl::StatusOr<std::unique_ptr<PageCache>> cache = PageCache::Create(options);
    if (!cache.ok() &&
        (absl::IsUnimplemented(cache.status()) || absl::IsResourceExhausted(cache.status()))) {
      GTEST_SKIP() << cache.status();
    }
    ASSERT_TRUE(cache.ok()) << cache.status();
    cache_ = *std::move(cache);
    path_ = scratch_.MakeFile("data.db", FileText(kFilePages));
    file_ = *this->cache().OpenFile(path_);
  }
  void ExpectFile() {
    for (uint64_t page = 0; page < kFilePages; ++page) {
      const absl::StatusOr<ReadGuard> guard = cache().Read(Page(page));
      ASSERT_TRUE(guard.ok()) << guard.status();
      ASSERT_TRUE(Text(guard->bytes()) == PageText(page)) << page;
    }
  }

  static constexpr uint64_t kFilePages = 1500;
  std::string path_;
};
INSTANTIATE_TEST_SUITE_P(Levels, PageCacheResizeLevelsTest, AllLevels(), LevelName);

TEST_P(PageCacheResizeLevelsTest, ResidentMemoryFollowsBothWays) {
  StartOwn({.memory_bytes = 8 * kMiB});
  if (IsSkipped() || HasFailure()) return;
  ExpectFile();
  for (int round = 0; round < 3; ++round) {
    const size_t small_bytes = StatusKib("VmRSS") * 1024;
    ASSERT_TRUE(cache().Resize(64 * kMiB).ok());
    EXPECT_EQ(cache().frame_count(), 64 * kMiB / kPageBytes);
    ExpectFile();
    const size_t large_bytes = StatusKib("VmRSS") * 1024;
    // 56 MiB, but for what else the process (a sanitizer, for one) makes of its memory meanwhile.
    EXPECT_GE(large_bytes, small_bytes + 48 * kMiB);
    const absl::Status status = cache().Resize(8 * kMiB);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(cache().frame_count(), 8 * kMiB / kPageBytes);
    EXPECT_LE(StatusKib("VmRSS") * 1024 + 48 * kMiB, large_bytes);
    ExpectFile();
  }
}

// What may be touched is given memory at once in such a process.
TEST_P(PageCacheResizeLevelsTest, ProcessThatLocksItsMemoryPaysForNoTablesInAdvance) {
#if defined(ABSL_HAVE_ADDRESS_SANITIZER) || defined(ABSL_HAVE_THREAD_SANITIZER)
  GTEST_SKIP() << "a sanitizer would have to lock its shadow";
#endif
  if (GetParam() == io::EngineLevel::kThreads) GTEST_SKIP() << "their stacks are locked, too";
  if (mlockall(MCL_FUTURE) != 0) GTEST_SKIP() << "mlockall: " << std::strerror(errno);
  const size_t before_bytes = StatusKib("VmRSS") * 1024;
  StartOwn({.memory_bytes = 8 * kMiB, .max_memory_bytes = size_t{32} << 30});
  if (!IsSkipped() && !HasFailure()) {
    EXPECT_LE(StatusKib("VmRSS") * 1024, before_bytes + 40 * kMiB);
    EXPECT_TRUE(cache().Resize(64 * kMiB).ok());
    ExpectFile();
    EXPECT_TRUE(cache().Resize(8 * kMiB).ok());
    ExpectFile();
    EXPECT_LE(StatusKib("VmRSS") * 1024, before_bytes + 120 * kMiB);
  }
  munlockall();
}

TEST_P(PageCacheResizeLevelsTest, RegionsAreASixteenthUnlessTold) {
  StartOwn({.memory_bytes = 64 * kMiB});
  if (IsSkipped() || HasFailure()) return;
  ASSERT_TRUE(cache().Resize(63 * kMiB).ok());
  EXPECT_EQ(cache().frame_count(), 64 * kMiB / kPageBytes);
  ASSERT_TRUE(cache().Resize(60 * kMiB).ok());
  EXPECT_EQ(cache().frame_count(), 60 * kMiB / kPageBytes);
  Stop();
  StartOwn({.memory_bytes = 4 * kMiB, .max_memory_bytes = 8 * kMiB, .region_bytes = kMiB});
  ASSERT_TRUE(cache().Resize(8 * kMiB).ok());
  ASSERT_TRUE(cache().Resize(3 * kMiB).ok());
  EXPECT_EQ(cache().frame_count(), 3 * kMiB / kPageBytes);
  EXPECT_TRUE(absl::IsResourceExhausted(cache().Resize(100 * kMiB)));
  EXPECT_EQ(cache().frame_count(), 3 * kMiB / kPageBytes);
  ExpectFile();
}

TEST_P(PageCacheResizeLevelsTest, ThreadThatKeepsFramesFreeFollows) {
  StartOwn({.memory_bytes = 64 * kPageBytes, .region_bytes = 64 * kPageBytes});
  if (IsSkipped() || HasFailure()) return;
  ExpectFile();
  EXPECT_EQ(cache().Stats().free_frames, 0u);  // there is none
  ASSERT_TRUE(cache().Resize(1024 * kPageBytes).ok());
  ExpectFile();
  // Else the test's own time limit ends it.
  while (cache().Stats().free_frames < 8) absl::SleepFor(absl::Milliseconds(1));
  ASSERT_TRUE(cache().Resize(256 * kPageBytes).ok());
  ExpectFile();
  while (cache().Stats().free_frames < 2) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_LE(cache().Stats().free_frames, 4u);
}

TEST_P(PageCacheResizeLevelsTest, NoMemoryLeavesTheCacheAsItWas) {
#if defined(ABSL_HAVE_ADDRESS_SANITIZER) || defined(ABSL_HAVE_THREAD_SANITIZER)
  GTEST_SKIP() << "a sanitizer needs address space of its own";
#endif
  StartOwn({.memory_bytes = 8 * kMiB});
  if (IsSkipped() || HasFailure()) return;
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_AS, &before), 0);
  const rlimit tight{.rlim_cur = StatusKib("VmSize") * 1024 + 32 * kMiB,
                     .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_AS, &tight), 0);
  const absl::Status status = cache().Resize(200 * kMiB);
  ASSERT_EQ(setrlimit(RLIMIT_AS, &before), 0);
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(cache().frame_count(), 8 * kMiB / kPageBytes);
  ExpectFile();
  ASSERT_TRUE(cache().Resize(16 * kMiB).ok());
  ExpectFile();
}

TEST_P(PageCacheResizeLevelsTest, AddressesComeBackWithTheirNumbers) {
  StartOwn({.memory_bytes = kMiB, .max_memory_bytes = 8 * kMiB, .region_bytes = kMiB});
  if (IsSkipped() || HasFailure()) return;
  // Else the tables would be full before the end.
  for (int round = 0; round < 20; ++round) {
    ASSERT_TRUE(cache().Resize(8 * kMiB).ok()) << round;
    ASSERT_TRUE(cache().Resize(kMiB).ok()) << round;
  }
  ExpectFile();
}

// A thread that uses one frame fewer than will be left, while the cache becomes so small, and large
// again.
TEST_P(PageCacheResizeLevelsTest, NobodyLacksAFrameThatTheSmallerSizeHas) {
  constexpr uint32_t kFew = 8;
  StartOwn({.memory_bytes = 8 * kFew * kPageBytes, .region_bytes = kFew * kPageBytes});
  if (IsSkipped() || HasFailure()) return;
  std::atomic<bool> stop{false};
  std::thread user([&] {
    std::vector<ReadGuard> held;
    for (uint64_t step = 0; !stop.load(); ++step) {
      const uint64_t page = step * 37 % 200;
      if (held.size() == kFew - 1) held.erase(held.begin());
      {
        absl::StatusOr<WriteGuard> guard = cache().Write(Page(page));
        ASSERT_TRUE(guard.ok()) << guard.status();
        ASSERT_TRUE(Text(guard->bytes()) == PageText(page)) << page;
        (void)guard->mutable_bytes();
        held.push_back(guard->Downgrade());
      }
    }
  });
  for (int round = 0; round < 30 && !HasFailure(); ++round) {
    // The pages that are held at a time may come to be in any region.
    const absl::Status status = cache().Resize(kFew * kPageBytes, absl::Seconds(60));
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(cache().frame_count(), kFew);
    EXPECT_TRUE(cache().Resize(8 * kFew * kPageBytes).ok());
  }
  stop.store(true);
  user.join();
  ExpectFile();
}

// Regions go and come back at the same addresses while threads look at pages without a latch, and
// one changes them.
TEST_P(PageCacheResizeLevelsTest, OptimisticLooksAreTrueWhateverTheSize) {
  constexpr uint64_t kFew = 8;
  constexpr uint64_t kLookedAt = 40;
  StartOwn({.memory_bytes = kFew * kPageBytes, .region_bytes = kFew * kPageBytes});
  if (IsSkipped() || HasFailure()) return;
  const auto fill = [](std::span<std::byte> bytes, uint64_t page, uint64_t version) {
    for (size_t at = 0; at < bytes.size(); at += 16) {
      std::memcpy(&bytes[at], &page, 8);
      std::memcpy(&bytes[at + 8], &version, 8);
    }
  };
  for (uint64_t page = 0; page < kLookedAt; ++page) {
    fill(cache().Write(Page(page))->mutable_bytes(), page, 0);
  }
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> looks{0}, valid{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&, i] {
      std::vector<std::byte> bytes(kPageBytes), expected(kPageBytes);
      for (uint64_t step = static_cast<uint64_t>(i); !stop.load() && !HasFailure(); ++step) {
        const uint64_t page = step * 7 % kLookedAt;
        const absl::StatusOr<OptimisticGuard> look = cache().ReadOptimistic(Page(page));
        ASSERT_TRUE(look.ok()) << look.status();
        look->view().CopyTo(0, std::span(bytes));
        ++looks;
        if (!look->StillValid()) continue;
        ++valid;
        uint64_t version;
        std::memcpy(&version, &bytes[8], 8);
        fill(std::span(expected), page, version);
        ASSERT_TRUE(bytes == expected) << page;
      }
    });
  }
  threads.emplace_back([&] {
    for (uint64_t step = 1; !stop.load() && !HasFailure(); ++step) {
      const uint64_t page = step * 3 % kLookedAt;
      absl::StatusOr<WriteGuard> guard = cache().Write(Page(page));
      ASSERT_TRUE(guard.ok()) << guard.status();
      fill(guard->mutable_bytes(), page, step);
    }
  });
  for (int round = 0; round < 50 && !HasFailure(); ++round) {
    EXPECT_TRUE(cache().Resize(8 * kFew * kPageBytes).ok());
    // Some that stay in memory, wherever they are.
    for (uint64_t page = 0; page < kFew - 2; ++page) {
      const PageId kept = Page((static_cast<uint64_t>(round) * 5 + page) % kLookedAt);
      EXPECT_TRUE(cache().Read(kept, {.hint = storage::Hint::kKeep}).ok());
    }
    EXPECT_TRUE(cache().Resize(kFew * kPageBytes).ok());
  }
  stop.store(true);
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(valid.load(), 0u);
  EXPECT_GE(looks.load(), valid.load());
  EXPECT_GT(cache().Stats().moves, 0u);
}

TEST_P(PageCacheResizeLevelsTest, GuardThatIsDroppedInTimeHoldsNothingUp) {
  StartOwn({.memory_bytes = 4 * kMiB, .region_bytes = kMiB});
  if (IsSkipped() || HasFailure()) return;
  const size_t frames = cache().frame_count();
  std::vector<ReadGuard> guards;
  for (uint64_t page = 0; page < frames; ++page) guards.push_back(*cache().Read(Page(page)));
  absl::Status status;
  std::thread other([&] { status = cache().Resize(kMiB); });
  while (cache().frame_count() == frames) std::this_thread::yield();
  while (!guards.empty()) {
    EXPECT_TRUE(Text(guards.back().bytes()) == PageText(guards.back().page_id().page_number));
    guards.pop_back();
  }
  other.join();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(cache().frame_count(), frames / 4);
  ExpectFile();
}

TEST(PageCacheResizeOptionsTest, RefusesWhatIsOutOfRange) {
  EXPECT_TRUE(absl::IsInvalidArgument(
      PageCache::Create({.memory_bytes = 2 << 20, .max_memory_bytes = 1 << 20}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      PageCache::Create({.memory_bytes = 2 << 20, .region_bytes = 100}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      PageCache::Create({.memory_bytes = 2 << 20, .region_bytes = size_t{2} << 30}).status()));
}

}  // namespace
}  // namespace fixpool::tests
