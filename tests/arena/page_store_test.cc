#include "fixpool/arena/page_store.h"

#include <array>
#include <vector>

#include "gtest/gtest.h"

namespace fixpool::arena {
namespace {

FreePage TakeOne(PageStore& store, int order) {
  FreePage page;
  EXPECT_EQ(store.Take(order, absl::MakeSpan(&page, 1)), 1u);
  return page;
}

TEST(PageStoreTest, TakesFromTheLowestRegion) {
  PageStore store(8, 4);
  store.Add(5, 16);
  store.Add(2, 16);
  EXPECT_EQ(store.free_pages(), 32u);
  EXPECT_EQ(TakeOne(store, 0), (FreePage{.slot = 2, .page_index = 0}));
  // The best fit comes before the lowest region.
  const FreePage large = TakeOne(store, 4);
  EXPECT_EQ(large, (FreePage{.slot = 5, .page_index = 0}));
  EXPECT_FALSE(store.Has(4));
  EXPECT_TRUE(store.Has(3));
  store.Give(large, 4);
  EXPECT_TRUE(store.Has(4));
  EXPECT_EQ(store.free_pages(), 31u);
}

TEST(PageStoreTest, TakesAsManyAsThereAre) {
  PageStore store(4, 8);
  store.Add(0, 3);
  store.Add(3, 2);
  std::array<FreePage, 8> pages;
  ASSERT_EQ(store.Take(0, absl::MakeSpan(pages)), 5u);
  EXPECT_EQ(store.free_pages(), 0u);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(pages[i].slot, pages[i].page_index < 3 && i < 3 ? 0 : 3) << i;
    for (size_t j = 0; j < i; ++j) EXPECT_NE(pages[i], pages[j]);
  }
  EXPECT_EQ(store.Take(0, absl::MakeSpan(pages)), 0u);
}

TEST(PageStoreTest, SuspendedRegionTakesBackAndGivesNothing) {
  PageStore store(2, 2);
  store.Add(1, 8);
  const FreePage page = TakeOne(store, 0);
  store.Suspend(1);
  EXPECT_EQ(store.free_pages(), 0u);
  EXPECT_FALSE(store.Has(0));
  store.Give(page, 0);
  EXPECT_FALSE(store.Has(0));
  EXPECT_EQ(store.FreePagesOf(1), 8u);
  store.Resume(1);
  EXPECT_EQ(store.free_pages(), 8u);
  EXPECT_EQ(TakeOne(store, 2), (FreePage{.slot = 1, .page_index = 0}));
}

TEST(PageStoreTest, ASlotCanBeUsedAgain) {
  PageStore store(1, 2);
  for (const uint32_t page_count : {4u, 8u, 1u}) {
    store.Add(0, page_count);
    EXPECT_EQ(store.free_pages(), page_count);
    TakeOne(store, 0);
    store.Remove(0);
    EXPECT_EQ(store.free_pages(), 0u);
    EXPECT_FALSE(store.Has(0));
  }
}

}  // namespace
}  // namespace fixpool::arena
