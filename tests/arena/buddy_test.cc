#include "fixpool/arena/buddy.h"

#include <algorithm>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/seed.h"

namespace fixpool::arena {
namespace {

TEST(BuddyTest, BeginsWithTheLargestRunsThatThereAre) {
  // 2 * 256 + 64 + 8 + 1 pages.
  Buddy buddy(585, 8);
  EXPECT_EQ(buddy.free_pages(), 585u);
  EXPECT_EQ(buddy.free_orders(), 1u << 8 | 1u << 6 | 1u << 3 | 1u);
  for (const uint32_t first : {0u, 256u}) EXPECT_EQ(buddy.Take(8), first);
  EXPECT_EQ(buddy.Take(8), std::nullopt);
  EXPECT_EQ(buddy.Take(7), std::nullopt);
  EXPECT_EQ(buddy.Take(6), 512u);
  EXPECT_EQ(buddy.Take(3), 576u);
  EXPECT_EQ(buddy.Take(0), 584u);
  EXPECT_EQ(buddy.free_pages(), 0u);
  EXPECT_EQ(buddy.free_orders(), 0u);
}

TEST(BuddyTest, TakesFromTheBestFitAndTheLowestOfThat) {
  Buddy buddy(512, 8);
  EXPECT_EQ(buddy.Take(0), 0u);
  EXPECT_EQ(buddy.Take(0), 1u);
  EXPECT_EQ(buddy.Take(2), 4u);
  // Not from the untouched half.
  EXPECT_EQ(buddy.Take(7), 128u);
  EXPECT_EQ(buddy.Take(8), 256u);
}

TEST(BuddyTest, JoinsWhatIsFreeAgain) {
  Buddy buddy(256, 8);
  std::vector<uint32_t> pages;
  for (int i = 0; i < 256; ++i) pages.push_back(*buddy.Take(0));
  std::shuffle(pages.begin(), pages.end(), std::mt19937_64(tests::Seed()));
  for (const uint32_t page : pages) buddy.Give(page, 0);
  EXPECT_EQ(buddy.free_orders(), 1u << 8);
  EXPECT_EQ(buddy.Take(8), 0u);
}

// Whatever the history: runs do not overlap, begin where they should, and free memory is in the
// largest runs possible.
TEST(BuddyTest, AgreesWithAMapOfPages) {
  constexpr uint32_t kPages = 1000;
  constexpr int kMaxOrder = 6;
  std::mt19937_64 random(tests::Seed());
  Buddy buddy(kPages, kMaxOrder);
  std::vector<bool> used(kPages);
  std::vector<std::pair<uint32_t, int>> held;
  const auto is_free = [&](uint32_t first, int order) {
    for (uint32_t i = 0; i < 1u << order; ++i) {
      if (first + i >= kPages || used[first + i]) return false;
    }
    return true;
  };
  const auto mark = [&](uint32_t first, int order, bool value) {
    for (uint32_t i = 0; i < 1u << order; ++i) used[first + i] = value;
  };
  for (int step = 0; step < 30000; ++step) {
    const bool filling = step / 3000 % 2 == 0;
    if (held.empty() || random() % 4 < (filling ? 3u : 1u)) {
      const int order = static_cast<int>(random() % (kMaxOrder + 1));
      const auto run = buddy.Take(order);
      bool any = false;
      for (uint32_t first = 0; first < kPages && !any; first += 1u << order) {
        any = is_free(first, order);
      }
      ASSERT_EQ(run.has_value(), any) << "order " << order;
      if (!run.has_value()) continue;
      ASSERT_EQ(*run % (1u << order), 0u);
      ASSERT_TRUE(is_free(*run, order));
      mark(*run, order, true);
      held.emplace_back(*run, order);
    } else {
      std::swap(held[random() % held.size()], held.back());
      const auto [first, order] = held.back();
      held.pop_back();
      mark(first, order, false);
      buddy.Give(first, order);
    }
  }
}

TEST(BuddyDeathTest, ChecksThatAFreeRunIsNotGivenBack) {
  Buddy buddy(4, 2);
  const uint32_t page = *buddy.Take(0);
  const uint32_t other = *buddy.Take(0);
  buddy.Give(page, 0);
  EXPECT_DEATH(buddy.Give(page, 0), "given back");
  buddy.Give(other, 0);
}

}  // namespace
}  // namespace fixpool::arena
