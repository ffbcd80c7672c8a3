// Pages found again by what a guard said of where they were.

#include "fixpool/storage/page_hint.h"

#include <cstdint>
#include <cstring>
#include <optional>
#include <random>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/storage/page_cache.h"
#include "gtest/gtest.h"
#include "tests/storage/cache_fixture.h"
#include "tests/support/child_process.h"
#include "tests/support/seed.h"

namespace fixpool::tests {
namespace {

using storage::FrameIndex;
using storage::OptimisticGuard;
using storage::PageHint;
using storage::ReadGuard;
using storage::WriteGuard;

class PageHintTest : public FakeCacheTest {
 protected:
  PageHint HintOf(uint64_t page) { return cache().Read(Page(page))->hint(); }

  // Whether the hint leads to its page; by each kind of guard the same.
  bool Leads(const PageHint& hint) {
    const OptimisticGuard seen = cache().TryReadOptimistic(hint);
    const bool leads = seen.has_page();
    if (leads) {
      EXPECT_EQ(seen.page_id(), hint.page());
      EXPECT_TRUE(seen.StillValid());
    }
    {
      const std::optional<ReadGuard> read = cache().TryRead(hint);
      EXPECT_EQ(read.has_value(), leads);
      if (read.has_value()) {
        EXPECT_EQ(read->page_id(), hint.page());
      }
    }
    const std::optional<WriteGuard> write = cache().TryWrite(hint);
    EXPECT_EQ(write.has_value(), leads);
    if (write.has_value()) {
      EXPECT_EQ(write->page_id(), hint.page());
    }
    return leads;
  }

  // Reads so many others that page 1 leaves.
  void EvictPage1() {
    for (uint64_t page = 2; page < 50; ++page) ASSERT_TRUE(cache().Read(Page(page)).ok());
    ASSERT_FALSE(cache().TryRead(Page(1)).has_value());
  }
};

TEST_F(PageHintTest, LeadsBackToThePageAndCountsAsAHit) {
  Start(4, 8);
  const PageHint hint = HintOf(1);
  EXPECT_EQ(hint.page(), Page(1));
  const storage::CacheStats before = cache().Stats();
  EXPECT_TRUE(Leads(hint));
  EXPECT_EQ(cache().Stats().hits, before.hits + 3);
  EXPECT_EQ(cache().Stats().misses, before.misses);
  EXPECT_TRUE(Text(cache().TryRead(hint)->bytes()) == PageText(1));
  std::string seen(kPageBytes, ' ');
  cache().TryReadOptimistic(hint).view().CopyTo(
      0, std::as_writable_bytes(std::span(seen.data(), seen.size())));
  EXPECT_TRUE(seen == PageText(1));
}

TEST_F(PageHintTest, EachKindOfGuardGivesTheSame) {
  Start(4, 8);
  const PageHint hint = HintOf(1);
  EXPECT_EQ(cache().ReadOptimistic(Page(1))->hint(), hint);
  EXPECT_EQ(cache().TryReadOptimistic(hint).hint(), hint);
  // Of a page that a WriteGuard has let go of.
  const PageHint left = cache().Write(Page(1))->hint();
  EXPECT_NE(left, hint);
  EXPECT_EQ(HintOf(1), left);
}

TEST_F(PageHintTest, OfNoPageLeadsNowhere) {
  Start(4, 8);
  EXPECT_FALSE(Leads(PageHint()));
  EXPECT_FALSE(Leads(PageHint(Page(1), FrameIndex{0}, 0, 0))) << "not in memory";
}

TEST_F(PageHintTest, IsRefusedWhenThePageHasLeft) {
  Start(4, 64);
  const PageHint hint = HintOf(1);
  EvictPage1();
  EXPECT_FALSE(Leads(hint));
  // Back in memory, in whichever frame: it leads to the page, or nowhere.
  const PageHint back = HintOf(1);
  EXPECT_EQ(Leads(hint), back.frame() == hint.frame());
  EXPECT_TRUE(Leads(back));
  EXPECT_FALSE(cache().Read(Page(1))->UnchangedSince(hint)) << "another life of the page";
}

TEST_F(PageHintTest, IsRefusedWhileSomebodyIsInTheWay) {
  Start(4, 8);
  const PageHint hint = HintOf(1);
  {
    const absl::StatusOr<ReadGuard> held = cache().Read(Page(1));
    EXPECT_TRUE(cache().TryRead(hint).has_value());
    EXPECT_FALSE(cache().TryWrite(hint).has_value());
    EXPECT_TRUE(cache().TryReadOptimistic(hint).has_page());
  }
  const absl::StatusOr<WriteGuard> held = cache().Write(Page(1));
  EXPECT_FALSE(cache().TryRead(hint).has_value());
  EXPECT_FALSE(cache().TryWrite(hint).has_value());
  EXPECT_FALSE(cache().TryReadOptimistic(hint).has_page());
}

TEST_F(PageHintTest, TellsWhetherThePageWasChanged) {
  Start(4, 8);
  const PageHint hint = HintOf(1);
  EXPECT_TRUE(cache().TryRead(hint)->UnchangedSince(hint));
  EXPECT_TRUE(cache().TryReadOptimistic(hint).UnchangedSince(hint));
  EXPECT_FALSE(storage::OptimisticGuard().UnchangedSince(hint));
  EXPECT_TRUE(cache().TryWrite(hint)->UnchangedSince(hint));
  EXPECT_FALSE(cache().TryRead(hint)->UnchangedSince(hint)) << "a writer has been there";
  EXPECT_FALSE(cache().TryReadOptimistic(hint).UnchangedSince(hint));
  Change(1);
  EXPECT_FALSE(cache().TryRead(hint)->UnchangedSince(hint));
  EXPECT_FALSE(cache().TryWrite(hint)->UnchangedSince(hint));
  EXPECT_TRUE(Text(cache().TryRead(hint)->bytes()) == PageText(1, 1)) << "it is the right page";
  const PageHint other = HintOf(2);
  EXPECT_FALSE(cache().Read(Page(1))->UnchangedSince(other));
}

TEST_F(PageHintTest, IsRefusedWhenItsFileWasClosed) {
  Start(4, 8);
  const PageHint hint = HintOf(1);
  ASSERT_TRUE(cache().CloseFile(file_).ok());
  EXPECT_FALSE(Leads(hint));
  file_ = *cache().OpenFile(path_);
  ASSERT_TRUE(cache().Read(Page(1)).ok());
  EXPECT_FALSE(Leads(hint)) << "the same page of the same file, opened anew";
}

TEST_F(PageHintTest, IsRefusedInAForkedChild) {
  Start(4, 8);
  const PageHint hint = HintOf(1);
  const ChildResult result = RunInChild([&]() -> std::string {
    EXPECT_FALSE(cache().TryReadOptimistic(hint).has_page());
    EXPECT_FALSE(cache().TryRead(hint).has_value());
    EXPECT_FALSE(cache().TryWrite(hint).has_value());
    return std::string();
  });
  EXPECT_EQ(result.outcome, ChildResult::Outcome::kPassed) << result.reason;
}

// Hints that were written to disk, overwritten, or made up.
TEST_F(PageHintTest, AnyBitPatternLeadsToItsPageOrNowhere) {
  Start(8, 64);
  std::mt19937_64 random(Seed());
  int led = 0;
  for (int i = 0; i < 100'000; ++i) {
    if (i % 50 == 0) {
      ASSERT_TRUE(cache().Read(Page(random() % 64)).ok());
    }
    PageHint hint = HintOf(random() % 8);
    auto* const bytes = reinterpret_cast<unsigned char*>(&hint);
    for (uint64_t flips = random() % 4; flips > 0; --flips) {
      bytes[random() % sizeof hint] ^= static_cast<unsigned char>(random());
    }
    if (random() % 16 == 0) {
      for (size_t at = 0; at < sizeof hint; ++at) bytes[at] = static_cast<unsigned char>(random());
    }
    if (!Leads(hint)) continue;
    ++led;
    ASSERT_TRUE(Text(cache().TryRead(hint)->bytes()) == PageText(hint.page().page_number));
  }
  EXPECT_GT(led, 1000);
  EXPECT_LT(led, 99'000);
}

}  // namespace
}  // namespace fixpool::tests
