// What a guard can become, and guards that are only tried for.

#include <atomic>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/io/error.h"
#include "fixpool/storage/lsn.h"
#include "fixpool/storage/page_cache.h"
#include "gtest/gtest.h"
#include "tests/storage/cache_fixture.h"
#include "tests/storage/level_fixture.h"

namespace fixpool::tests {
namespace {

using io::IoOperation;
using storage::Lsn;
using storage::OptimisticGuard;
using storage::PageId;
using storage::ReadGuard;
using storage::WriteGuard;

class PageGuardTest : public FakeCacheTest {
 protected:
  void StartWithPage1() {
    Start(4, 8);
    ExpectVersion(1, 0);
  }
  // Reads and makes the page dirty by a guard that was tried for.
  void ExpectWritable(WriteGuard guard, uint64_t version) {
    Put(guard, PageText(guard.page_id().page_number, version));
  }
};

// ---- LSNs ----

TEST_F(PageGuardTest, TellsTheLargestLsnThatWasSet) {
  StartWithPage1();
  EXPECT_EQ(cache().Read(Page(1))->lsn(), Lsn::kNone);
  {
    WriteGuard page = *cache().Write(Page(1));
    EXPECT_EQ(page.lsn(), Lsn::kNone);
    page.set_lsn(Lsn{70});
    EXPECT_EQ(page.lsn(), Lsn{70});
    page.set_lsn(Lsn{60});
    page.set_lsn(Lsn::kNone);
    EXPECT_EQ(page.lsn(), Lsn{70});
  }
  EXPECT_EQ(cache().Read(Page(1))->lsn(), Lsn{70});
  EXPECT_EQ(cache().Write(Page(1))->lsn(), Lsn{70});
  EXPECT_EQ(cache().Read(Page(2))->lsn(), Lsn::kNone);
  EXPECT_EQ(cache().Stats().dirty_frames, 1u);  // a record says that it was changed
}

TEST_F(PageGuardTest, KeepsTheLsnThroughUpgradeAndDowngrade) {
  StartWithPage1();
  ReadGuard reader = *cache().Read(Page(1));
  WriteGuard writer = *reader.TryUpgrade();
  writer.set_lsn(Lsn{5});
  EXPECT_EQ(writer.Downgrade().lsn(), Lsn{5});
}

// Each of the frames holds several pages in turn.
TEST_F(PageGuardTest, ForgetsTheLsnWithThePage) {
  Start(2, 8);
  for (uint64_t page = 0; page < 8; ++page) {
    WriteGuard guard = *cache().Write(Page(page));
    EXPECT_EQ(guard.lsn(), Lsn::kNone) << page;
    guard.set_lsn(Lsn{100});
  }
  for (uint64_t page = 8; page < 12; ++page) {
    WriteGuard guard = *cache().Make(Page(page));
    EXPECT_EQ(guard.lsn(), Lsn::kNone) << page;
    guard.set_lsn(Lsn{100});
  }
}

TEST_F(PageGuardTest, LsnsNeedAPage) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(WriteGuard().set_lsn(Lsn{1}), "holds no page");
  EXPECT_DEATH((void)WriteGuard().lsn(), "holds no page");
  EXPECT_DEATH((void)ReadGuard().lsn(), "holds no page");
}

// ---- Tried for ----

TEST_F(PageGuardTest, TryFindsWhatIsInMemoryAndNothingElse) {
  StartWithPage1();
  const uint64_t hits = cache().Stats().hits;
  const uint64_t reads = engine().Count(IoOperation::kRead);
  EXPECT_TRUE(Text(cache().TryRead(Page(1))->bytes()) == PageText(1));
  ExpectWritable(*cache().TryWrite(Page(1)), 5);
  EXPECT_EQ(cache().Stats().hits, hits + 2);
  EXPECT_FALSE(cache().TryRead(Page(2)).has_value());                     // on disk
  EXPECT_FALSE(cache().TryWrite(Page(100)).has_value());                  // nowhere
  EXPECT_FALSE(cache().TryRead({storage::FileId(9, 9), 1}).has_value());  // no file
  EXPECT_FALSE(cache().TryWrite({storage::FileId(9, 9), 1}).has_value());
  EXPECT_EQ(engine().Count(IoOperation::kRead), reads);
  EXPECT_EQ(cache().Stats().hits, hits + 2);
  ExpectVersion(1, 5);
}

TEST_F(PageGuardTest, TryDoesNotWaitForGuards) {
  StartWithPage1();
  {
    const ReadGuard reader = *cache().Read(Page(1));
    EXPECT_TRUE(cache().TryRead(Page(1)).has_value());
    EXPECT_FALSE(cache().TryWrite(Page(1)).has_value());
  }
  {
    const WriteGuard writer = *cache().Write(Page(1));
    EXPECT_FALSE(cache().TryRead(Page(1)).has_value());
    EXPECT_FALSE(cache().TryWrite(Page(1)).has_value());
  }
  EXPECT_TRUE(cache().TryWrite(Page(1)).has_value());
  EXPECT_EQ(cache().Stats().waits, 1u);  // for the read of the page at the beginning
}

TEST_F(PageGuardTest, TryDoesNotWaitForTransfers) {
  Start(4, 8);
  engine().Hold({.operation = IoOperation::kRead});
  const PageId page = Page(3);
  ASSERT_TRUE(cache().Prefetch({&page, 1}).ok());
  EXPECT_FALSE(cache().TryRead(page).has_value());
  EXPECT_FALSE(cache().TryWrite(page).has_value());
  engine().ReleaseAll();
  ExpectVersion(3, 0);
  EXPECT_TRUE(cache().TryRead(page).has_value());
}

TEST_F(PageGuardTest, TryWriteIsRefusedWhereWriteIs) {
  StartWithPage1();
  const std::string path = scratch_.MakeFile("read_only", FileText(2));
  const storage::FileId read_only = *cache().OpenFile(path, {.read_only = true});
  ASSERT_TRUE(cache().Read({read_only, 0}).ok());
  EXPECT_FALSE(cache().TryWrite({read_only, 0}).has_value());
  EXPECT_TRUE(cache().TryRead({read_only, 0}).has_value());
  EXPECT_FALSE(cache().TryRead({read_only, 0})->TryUpgrade().has_value());
  // Nor after a failed sync.
  Change(1);
  engine().Fail({.operation = IoOperation::kSync}, io::ErrnoStatus(EIO, "the test"));
  EXPECT_FALSE(cache().Flush(file_).ok());
  EXPECT_FALSE(cache().TryWrite(Page(1)).has_value());
  ReadGuard reader = *cache().TryRead(Page(1));
  EXPECT_FALSE(reader.TryUpgrade().has_value());
  EXPECT_TRUE(Text(reader.bytes()) == PageText(1, 1));
}

// ---- Downgrade ----

TEST_F(PageGuardTest, DowngradeKeepsThePageAndItsChanges) {
  StartWithPage1();
  WriteGuard writer = *cache().Write(Page(1));
  Put(writer, PageText(1, 2));
  const ReadGuard reader = writer.Downgrade();
  EXPECT_FALSE(writer.holds_page());
  EXPECT_EQ(reader.page_id(), Page(1));
  EXPECT_TRUE(Text(reader.bytes()) == PageText(1, 2));
  EXPECT_TRUE(cache().TryRead(Page(1)).has_value());
  EXPECT_FALSE(cache().TryWrite(Page(1)).has_value());
  // By the same thread it would never be had.
  EXPECT_TRUE(absl::IsFailedPrecondition(cache().Write(Page(1)).status()));
  EXPECT_EQ(cache().Stats().dirty_frames, 1u);
  EXPECT_EQ(cache().Stats().pinned_frames, 1u);
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_TRUE(ReadWholeFile(path_).substr(kPageBytes, kPageBytes) == PageText(1, 2));
}

TEST_F(PageGuardTest, DowngradeEndsTheLifeThatAnOptimisticLookSaw) {
  StartWithPage1();
  const OptimisticGuard before = *cache().ReadOptimistic(Page(1));
  WriteGuard writer = *cache().Write(Page(1));
  const ReadGuard reader = writer.Downgrade();
  EXPECT_FALSE(before.StillValid());
  EXPECT_TRUE(cache().ReadOptimistic(Page(1))->StillValid());
}

// ---- Upgrade ----

TEST_F(PageGuardTest, OnlyReaderBecomesTheWriter) {
  StartWithPage1();
  ReadGuard reader = *cache().Read(Page(1));
  std::optional<WriteGuard> writer = reader.TryUpgrade();
  ASSERT_TRUE(writer.has_value());
  EXPECT_FALSE(reader.holds_page());
  EXPECT_FALSE(cache().TryRead(Page(1)).has_value());
  Put(*writer, PageText(1, 3));
  writer.reset();
  ExpectVersion(1, 3);
  EXPECT_EQ(cache().Stats().pinned_frames, 0u);
}

TEST_F(PageGuardTest, OneOfTwoReadersCannotAndStaysAReader) {
  StartWithPage1();
  ReadGuard first = *cache().Read(Page(1));
  ReadGuard second = *cache().Read(Page(1));
  EXPECT_FALSE(first.TryUpgrade().has_value());
  EXPECT_FALSE(second.TryUpgrade().has_value());
  EXPECT_TRUE(first.holds_page());
  EXPECT_TRUE(Text(first.bytes()) == PageText(1));
  second.Release();
  EXPECT_TRUE(first.TryUpgrade().has_value());
}

TEST_F(PageGuardTest, PageThatIsBeingWrittenCannotBeUpgraded) {
  Start(2, 8);
  Change(1);
  engine().Hold({.operation = IoOperation::kWrite});
  Change(2);
  const PageId wanted = Page(3);
  ASSERT_TRUE(cache().Prefetch({&wanted, 1}).ok());  // has the dirty ones written
  std::optional<ReadGuard> reader = cache().TryRead(Page(1));
  ASSERT_TRUE(reader.has_value());
  EXPECT_FALSE(reader->TryUpgrade().has_value());
  EXPECT_FALSE(cache().TryWrite(Page(1)).has_value());
  EXPECT_TRUE(Text(reader->bytes()) == PageText(1, 1));
  engine().ReleaseAll();
  reader.reset();
  ExpectVersion(1, 1);
}

TEST_F(PageGuardTest, LookFollowedByALatchTellsWhetherAnythingChanged) {
  StartWithPage1();
  const OptimisticGuard look = *cache().ReadOptimistic(Page(1));
  {
    const ReadGuard reader = *cache().Read(Page(1));
    EXPECT_TRUE(look.StillValid());
  }
  {
    const WriteGuard writer = *cache().Write(Page(1));
    EXPECT_FALSE(look.StillValid());  // for others
    EXPECT_TRUE(look.StillValidUnder(writer));
    const WriteGuard other = *cache().Write(Page(2));
    EXPECT_FALSE(look.StillValidUnder(other));
    EXPECT_FALSE(OptimisticGuard().StillValidUnder(writer));
  }
  const WriteGuard later = *cache().Write(Page(1));
  EXPECT_FALSE(look.StillValidUnder(later));  // somebody was there between
  EXPECT_FALSE(look.StillValidUnder(WriteGuard()));
}

TEST_F(PageGuardTest, GuardOfNoPageIsACheck) {
  ReadGuard reader;
  WriteGuard writer;
  EXPECT_DEATH((void)reader.TryUpgrade(), "a guard was used that holds no page");
  EXPECT_DEATH((void)writer.Downgrade(), "a guard was used that holds no page");
}

// ---- Several threads ----

class PageGuardThreadsTest : public LevelTest {};
INSTANTIATE_TEST_SUITE_P(Levels, PageGuardThreadsTest, AllLevels(), LevelName);

// Counts up by every way to become a writer; whatever is lost shows in the sum.
TEST_P(PageGuardThreadsTest, NothingIsLostBetweenReadingAndWriting) {
  FIXPOOL_START_OR_SKIP(4);
  file_ = *cache().OpenFile(scratch_.File("data"), {.create = true});
  for (uint64_t page = 0; page < 8; ++page) ASSERT_TRUE(cache().Make(Page(page)).ok());
  constexpr int kThreads = 4;
  constexpr uint64_t kSteps = 2000;
  const auto count_up = [](WriteGuard& guard, uint64_t seen) {
    ++seen;
    std::memcpy(guard.mutable_bytes().data(), &seen, sizeof(seen));
  };
  const auto count_of = [](const ReadGuard& guard) {
    uint64_t count;
    std::memcpy(&count, guard.bytes().data(), sizeof(count));
    return count;
  };
  std::atomic<uint64_t> counted{0}, upgrades{0}, latched{0}, tries{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (uint64_t step = 0; step < kSteps; ++step) {
        const PageId page = Page(step % 8);
        if ((step + static_cast<uint64_t>(thread)) % 3 == 0) {
          ReadGuard reader = *cache().Read(page);
          const uint64_t seen = count_of(reader);
          std::optional<WriteGuard> writer = reader.TryUpgrade();
          if (!writer.has_value()) continue;
          count_up(*writer, seen);
          const ReadGuard again = writer->Downgrade();
          EXPECT_EQ(count_of(again), seen + 1);
          ++upgrades;
        } else if ((step + static_cast<uint64_t>(thread)) % 3 == 1) {
          const OptimisticGuard look = *cache().ReadOptimistic(page);
          const uint64_t seen = look.view().Load<uint64_t>(0);
          WriteGuard writer = *cache().Write(page);
          if (!look.StillValidUnder(writer)) continue;
          count_up(writer, seen);
          ++latched;
        } else {
          std::optional<WriteGuard> writer = cache().TryWrite(page);
          if (!writer.has_value()) continue;
          uint64_t seen;
          std::memcpy(&seen, writer->bytes().data(), sizeof(seen));
          count_up(*writer, seen);
          ++tries;
        }
        ++counted;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  uint64_t sum = 0;
  for (uint64_t page = 0; page < 8; ++page) sum += count_of(*cache().Read(Page(page)));
  EXPECT_EQ(sum, counted);
  EXPECT_GT(upgrades, 0u);
  EXPECT_GT(latched, 0u);
  EXPECT_GT(tries, 0u);
  EXPECT_EQ(cache().Stats().pinned_frames, 0u);
}

}  // namespace
}  // namespace fixpool::tests
