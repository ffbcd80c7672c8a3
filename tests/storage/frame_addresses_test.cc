#include "fixpool/storage/frame_addresses.h"

#include <algorithm>
#include <random>
#include <set>

#include "gtest/gtest.h"
#include "tests/support/seed.h"

namespace fixpool::storage {
namespace {

constexpr uint32_t kPageBytes = 4096;

std::byte* At(uint64_t page) { return reinterpret_cast<std::byte*>(page * kPageBytes); }

void ExpectEachHasItsOwn(const std::vector<std::byte*>& pages, const FrameAddresses& addresses) {
  std::set<FrameIndex> frames;
  for (std::byte* const page : pages) {
    const FrameIndex frame = addresses.IndexOf(page);
    EXPECT_LT(ToInt(frame), addresses.size());
    EXPECT_EQ(addresses[frame], page);
    EXPECT_TRUE(frames.insert(frame).second);
  }
  EXPECT_LE(addresses.size(), pages.size() + pages.size() / 63);
}

TEST(FrameAddressesTest, OneFrame) {
  ExpectEachHasItsOwn({At(1000003)}, FrameAddresses({At(1000003)}, kPageBytes));
}

TEST(FrameAddressesTest, WholeRegionsInAnyOrder) {
  std::vector<std::byte*> pages;
  for (const uint64_t base : {uint64_t{1} << 24, uint64_t{1} << 22}) {
    for (uint64_t i = 0; i < 8192; ++i) pages.push_back(At(base + i));
  }
  std::mt19937_64 random(tests::Seed());
  std::shuffle(pages.begin(), pages.end(), random);
  const FrameAddresses addresses(pages, kPageBytes);
  EXPECT_EQ(addresses.size(), pages.size());
  ExpectEachHasItsOwn(pages, addresses);
}

TEST(FrameAddressesTest, ScatteredPagesWasteLittle) {
  std::mt19937_64 random(tests::Seed());
  for (const uint64_t one_of : {2, 3, 10, 1000}) {
    std::vector<std::byte*> pages;
    for (uint64_t i = 1; i < 100000; ++i) {
      if (random() % one_of == 0) pages.push_back(At(i));
    }
    ExpectEachHasItsOwn(pages, FrameAddresses(pages, kPageBytes));
  }
}

}  // namespace
}  // namespace fixpool::storage
