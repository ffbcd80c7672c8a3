#include "fixpool/arena/region_pages.h"

#include <atomic>
#include <thread>
#include <vector>

#include "fixpool/arena/address_range.h"
#include "gtest/gtest.h"

namespace fixpool::arena {
namespace {

using Released = RegionPages::Released;

constexpr uint32_t kPageBytes = 8192;

class RegionPagesTest : public ::testing::Test {
 protected:
  static constexpr uint32_t kPages = 16;

  io::MemoryRegion Region(uint32_t page_count = kPages) {
    range_ = AddressRange::MapOrdinary(size_t{page_count} * kPageBytes).value();
    return io::MemoryRegion::Create(range_.base(), range_.size_bytes()).value();
  }
  Released Release(RegionPages& pages, uint32_t index, uint32_t generation) {
    return pages.Release(index, generation, order_);
  }

  const io::RegionId id_ = io::RegionId::FromParts(3, 1, 17);
  int order_ = -1;

 private:
  AddressRange range_;
};

TEST_F(RegionPagesTest, KnowsAPageFromItsClaimToItsRelease) {
  const io::MemoryRegion region = Region();
  RegionPages pages(kPageBytes, kPages);
  EXPECT_TRUE(pages.id().is_unregistered());
  pages.Open(region, id_);
  EXPECT_EQ(pages.id(), id_);
  EXPECT_EQ(pages.page_count(), kPages);
  const uint32_t generation = pages.Claim(5, 0);
  EXPECT_EQ(generation, 1u);
  EXPECT_TRUE(pages.IsLive(5, generation));
  EXPECT_FALSE(pages.IsLive(4, generation));
  std::byte* const address = pages.AddressOf(5);
  EXPECT_EQ(address, region.base() + 5 * kPageBytes);
  address[0] = address[kPageBytes - 1] = std::byte{1};
  EXPECT_EQ(Release(pages, 5, generation), Released::kFreed);
  EXPECT_FALSE(pages.IsLive(5, generation));
  EXPECT_EQ(pages.Claim(5, 0), generation + 2);
}

TEST_F(RegionPagesTest, ARunIsKnownByItsFirstPage) {
  RegionPages pages(kPageBytes, kPages);
  pages.Open(Region(), id_);
  const uint32_t generation = pages.Claim(8, 3);
  EXPECT_EQ(pages.OrderOf(8), 3);
  std::byte* const address = pages.AddressOf(8);
  address[8 * kPageBytes - 1] = std::byte{1};
  for (uint32_t i = 9; i < kPages; ++i) EXPECT_FALSE(pages.IsLive(i, generation));
  EXPECT_EQ(Release(pages, 8, generation), Released::kFreed);
  EXPECT_EQ(order_, 3);
}

TEST_F(RegionPagesTest, TakesBackOnlyTheCurrentLife) {
  RegionPages pages(kPageBytes, kPages);
  pages.Open(Region(), id_);
  const uint32_t live = pages.Claim(0, 0);
  for (const uint32_t generation : {0u, 2u, 3u, ~0u, ~1u}) {
    EXPECT_EQ(Release(pages, 0, generation), Released::kStale);
    EXPECT_FALSE(pages.IsLive(0, generation));
  }
  EXPECT_EQ(order_, -1);
  EXPECT_EQ(Release(pages, 0, live), Released::kFreed);
  EXPECT_EQ(Release(pages, 0, live), Released::kStale);
  // Free, in generation 2: an even generation is no claim on a page.
  EXPECT_EQ(Release(pages, 0, 2), Released::kStale);
  EXPECT_FALSE(pages.IsLive(0, 2));
}

TEST_F(RegionPagesTest, KnowsNoPageBeyondItsEnd) {
  RegionPages pages(kPageBytes, 2 * kPages);
  pages.Open(Region(), id_);
  for (const uint32_t index : {kPages, kPages + 1, 2 * kPages, ~0u}) {
    EXPECT_FALSE(pages.IsLive(index, 1));
  }
}

TEST_F(RegionPagesTest, RetiresAPageWhoseGenerationsAreUsedUp) {
  // Each page has two lives left.
  RegionPages pages(kPageBytes, 4, 0u - 4);
  pages.Open(Region(4), id_);
  for (int life = 0; life < 2; ++life) {
    const uint32_t generation = pages.Claim(2, 1);
    EXPECT_TRUE(pages.IsLive(2, generation));
    EXPECT_EQ(Release(pages, 2, generation), life == 0 ? Released::kFreed : Released::kRetired);
  }
  EXPECT_EQ(pages.GenerationOf(2), 0u);
  EXPECT_EQ(pages.retired_pages(), 2u);
  EXPECT_FALSE(pages.IsLive(2, 0));
  EXPECT_FALSE(pages.IsLive(2, ~0u));
  EXPECT_EQ(Release(pages, 2, ~0u), Released::kStale);
}

TEST_F(RegionPagesTest, TheNextRegionGoesOnInTheGenerationsOfTheLast) {
  RegionPages pages(kPageBytes, kPages);
  pages.Open(Region(), id_);
  const uint32_t first = pages.Claim(0, 0);
  ASSERT_EQ(Release(pages, 0, first), Released::kFreed);
  pages.Close();
  EXPECT_TRUE(pages.id().is_unregistered());
  pages.Reopen(id_);
  EXPECT_EQ(pages.id(), id_);
  pages.Close();
  const io::RegionId next = io::RegionId::FromParts(3, 1, 18);
  pages.Open(Region(kPages / 2), next);
  EXPECT_EQ(pages.id(), next);
  EXPECT_EQ(pages.page_count(), kPages / 2);
  const uint32_t second = pages.Claim(0, 0);
  EXPECT_GT(second, first);
  EXPECT_FALSE(pages.IsLive(0, first));
}

TEST_F(RegionPagesTest, OfManyThreadsThatReleaseARunOneDoes) {
  RegionPages pages(kPageBytes, kPages);
  pages.Open(Region(), id_);
  for (int round = 0; round < 500; ++round) {
    const uint32_t generation = pages.Claim(3, 0);
    std::atomic<int> freed{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&] {
        int order = 0;
        if (pages.Release(3, generation, order) == Released::kFreed) freed.fetch_add(1);
      });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(freed.load(), 1);
  }
}

}  // namespace
}  // namespace fixpool::arena
