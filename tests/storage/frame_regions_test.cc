#include "fixpool/storage/frame_regions.h"

#include <algorithm>
#include <map>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/seed.h"

namespace fixpool::storage {
namespace {

arena::PageHandle HandleOf(uint64_t region, uint32_t page_index) {
  return {.region = io::RegionId::FromBits(region), .page_index = page_index, .generation = 5};
}

TEST(FrameRegionsTest, OneRunForARegion) {
  FrameRegions regions;
  for (uint32_t i = 0; i < 1000; ++i) regions.Set(FrameIndex{i}, HandleOf(1, 70 + i));
  for (uint32_t i = 1000; i < 1500; ++i) regions.Set(FrameIndex{i}, HandleOf(2, i - 1000));
  EXPECT_EQ(regions.run_count(), 2u);
  EXPECT_EQ(regions.HandleOf(FrameIndex{0}, 5), HandleOf(1, 70));
  EXPECT_EQ(regions.HandleOf(FrameIndex{999}, 5), HandleOf(1, 1069));
  EXPECT_EQ(regions.HandleOf(FrameIndex{1000}, 5), HandleOf(2, 0));
  EXPECT_EQ(regions.HandleOf(FrameIndex{1499}, 7).generation, 7u);
}

TEST(FrameRegionsTest, OneRunInWhateverOrder) {
  std::mt19937_64 random(tests::Seed());
  std::vector<uint32_t> order(500);
  for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  std::shuffle(order.begin(), order.end(), random);
  FrameRegions regions;
  for (const uint32_t i : order) regions.Set(FrameIndex{i}, HandleOf(1 + i / 250, i));
  EXPECT_EQ(regions.run_count(), 2u);
  for (const uint32_t i : order) {
    EXPECT_EQ(regions.HandleOf(FrameIndex{i}, 5), HandleOf(1 + i / 250, i));
  }
}

// A region takes the place of one that has gone.
TEST(FrameRegionsTest, NewRegionInAnOldPlace) {
  FrameRegions regions;
  for (uint32_t i = 0; i < 300; ++i) regions.Set(FrameIndex{i}, HandleOf(1, i));
  for (uint32_t i = 100; i < 200; ++i) regions.Set(FrameIndex{i}, HandleOf(2, i));
  EXPECT_EQ(regions.run_count(), 3u);
  for (uint32_t i = 0; i < 300; ++i) {
    EXPECT_EQ(regions.HandleOf(FrameIndex{i}, 5), HandleOf(i < 100 || i >= 200 ? 1 : 2, i));
  }
  for (uint32_t i = 100; i < 200; ++i) regions.Set(FrameIndex{i}, HandleOf(1, i));
  EXPECT_EQ(regions.run_count(), 1u);
}

TEST(FrameRegionsTest, AgreesWithAMap) {
  std::mt19937_64 random(tests::Seed());
  FrameRegions regions;
  std::map<uint32_t, arena::PageHandle> model;
  for (int i = 0; i < 20'000; ++i) {
    const uint32_t frame = random() % 64;
    const arena::PageHandle handle = HandleOf(1 + random() % 2, frame + random() % 2);
    regions.Set(FrameIndex{frame}, handle);
    model[frame] = handle;
    for (const auto& [known, its_handle] : model) {
      ASSERT_EQ(regions.HandleOf(FrameIndex{known}, 5), its_handle) << known;
    }
  }
  EXPECT_LE(regions.run_count(), 64u);
}

}  // namespace
}  // namespace fixpool::storage
