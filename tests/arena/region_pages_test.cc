#include "fixpool/arena/region_pages.h"

#include <atomic>
#include <set>
#include <thread>
#include <vector>

#include "fixpool/arena/address_range.h"
#include "gtest/gtest.h"

namespace fixpool::arena {
namespace {

constexpr uint32_t kPageBytes = 8192;

// A region of a few pages.
class RegionPagesTest : public ::testing::Test {
 protected:
  static constexpr uint32_t kPages = 16;

  io::MemoryRegion Region(uint32_t page_count = kPages) {
    range_ = AddressRange::MapOrdinary(size_t{page_count} * kPageBytes).value();
    return io::MemoryRegion::Create(range_.base(), range_.size_bytes()).value();
  }
  const io::RegionId id_ = io::RegionId::FromParts(3, 1, 17);

 private:
  AddressRange range_;
};

TEST_F(RegionPagesTest, HandsOutEachPageOnceFromTheLowestUp) {
  const io::MemoryRegion region = Region();
  RegionPages pages(region, id_, kPageBytes);
  EXPECT_EQ(pages.id(), id_);
  EXPECT_EQ(pages.page_count(), kPages);
  for (uint32_t i = 0; i < kPages; ++i) {
    ASSERT_TRUE(pages.MayTake());
    const auto taken = pages.Take();
    ASSERT_TRUE(taken.has_value());
    EXPECT_EQ(taken->index, i);
    EXPECT_EQ(taken->generation, 1u);
    EXPECT_TRUE(pages.IsLive(taken->index, taken->generation));
    std::byte* const address = pages.AddressOf(i);
    EXPECT_EQ(address, region.base() + size_t{i} * kPageBytes);
    address[0] = address[kPageBytes - 1] = std::byte{1};
  }
  EXPECT_FALSE(pages.MayTake());
  EXPECT_EQ(pages.Take(), std::nullopt);
}

TEST_F(RegionPagesTest, HandsOutThePageFreedLastInANewGeneration) {
  RegionPages pages(Region(), id_, kPageBytes);
  const auto first = *pages.Take();
  ASSERT_EQ(pages.Give(first.index, first.generation), RegionPages::Given::kFreed);
  EXPECT_FALSE(pages.IsLive(first.index, first.generation));
  const auto second = *pages.Take();
  EXPECT_EQ(second.index, first.index);
  EXPECT_EQ(second.generation, first.generation + 2);
  EXPECT_FALSE(pages.IsLive(first.index, first.generation));
  EXPECT_TRUE(pages.IsLive(second.index, second.generation));
}

TEST_F(RegionPagesTest, TakesBackOnlyTheCurrentLife) {
  RegionPages pages(Region(), id_, kPageBytes);
  const auto page = *pages.Take();
  for (const uint32_t generation : {0u, 2u, 3u, ~0u, ~1u}) {
    EXPECT_EQ(pages.Give(page.index, generation), RegionPages::Given::kStale);
    EXPECT_FALSE(pages.IsLive(page.index, generation));
  }
  EXPECT_EQ(pages.Give(page.index, page.generation), RegionPages::Given::kFreed);
  EXPECT_EQ(pages.Give(page.index, page.generation), RegionPages::Given::kStale);
  // Free, in generation 2: an even generation is no claim on a page.
  EXPECT_EQ(pages.Give(page.index, 2), RegionPages::Given::kStale);
  EXPECT_FALSE(pages.IsLive(page.index, 2));
}

TEST_F(RegionPagesTest, KnowsNoPageBeyondItsEnd) {
  const RegionPages pages(Region(), id_, kPageBytes);
  for (const uint32_t index : {kPages, kPages + 1, ~0u}) EXPECT_FALSE(pages.IsLive(index, 1));
}

TEST_F(RegionPagesTest, RetiresAPageWhoseGenerationsAreUsedUp) {
  // Each page has two lives left.
  RegionPages pages(Region(2), id_, kPageBytes, 0u - 4);
  const auto sibling = *pages.Take();
  for (int life = 0; life < 2; ++life) {
    const auto page = *pages.Take();
    EXPECT_EQ(page.index, 1u);
    EXPECT_TRUE(pages.IsLive(page.index, page.generation));
    EXPECT_EQ(pages.Give(page.index, page.generation),
              life == 0 ? RegionPages::Given::kFreed : RegionPages::Given::kRetired);
  }
  EXPECT_EQ(pages.Take(), std::nullopt);
  EXPECT_EQ(pages.GenerationOf(1), 0u);
  EXPECT_FALSE(pages.IsLive(1, 0));
  EXPECT_FALSE(pages.IsLive(1, ~0u));
  EXPECT_EQ(pages.Give(1, ~0u), RegionPages::Given::kStale);
  // The others go on.
  EXPECT_EQ(pages.Give(sibling.index, sibling.generation), RegionPages::Given::kFreed);
  EXPECT_EQ(pages.Take()->index, sibling.index);
}

TEST_F(RegionPagesTest, ThreadsNeverHoldTheSamePage) {
  RegionPages pages(Region(4), id_, kPageBytes);
  std::atomic<int> owners[4] = {};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20000; ++i) {
        const auto page = pages.Take();
        if (!page.has_value()) continue;
        ASSERT_EQ(owners[page->index].fetch_add(1), 0);
        owners[page->index].fetch_sub(1);
        ASSERT_EQ(pages.Give(page->index, page->generation), RegionPages::Given::kFreed);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<uint32_t> left;
  while (const auto page = pages.Take()) left.insert(page->index);
  EXPECT_EQ(left.size(), 4u);
}

}  // namespace
}  // namespace fixpool::arena
