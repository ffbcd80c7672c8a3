#include "fixpool/io/region_id.h"

#include <cstdint>
#include <random>
#include <unordered_set>

#include "absl/hash/hash.h"
#include "gtest/gtest.h"
#include "tests/support/seed.h"

namespace fixpool::io {
namespace {

TEST(RegionIdTest, PartsAreWhereTheySayTheyAre) {
  constexpr RegionId id = RegionId::FromParts(0x1234, 0x5678, 0x9abcdef0);
  static_assert(id.slot() == 0x1234);
  static_assert(id.owner() == 0x5678);
  static_assert(id.generation() == 0x9abcdef0);
  static_assert(id.bits() == 0x9abcdef0'5678'1234u);
  static_assert(RegionId::FromBits(id.bits()) == id);
}

TEST(RegionIdTest, AnyBitPatternRoundTrips) {
  std::mt19937_64 random(tests::Seed());
  for (int i = 0; i < 10'000; ++i) {
    const RegionId id = RegionId::FromBits(random());
    EXPECT_EQ(RegionId::FromParts(id.slot(), id.owner(), id.generation()), id);
    EXPECT_FALSE(id.is_unregistered());
  }
}

TEST(RegionIdTest, DefaultNamesNothing) {
  EXPECT_EQ(RegionId().bits(), 0u);
  EXPECT_FALSE(RegionId().is_unregistered());
  EXPECT_NE(RegionId(), RegionId::kUnregistered);
}

TEST(RegionIdTest, UnregisteredIsNeverASlot) {
  EXPECT_TRUE(RegionId::kUnregistered.is_unregistered());
  // A ring has 16384 slots, so no id that a registry issues can look like it.
  EXPECT_GT(RegionId::kUnregistered.slot(), 16384);
  EXPECT_FALSE(RegionId::FromParts(0xffff, 0xffff, 0xfffffffe).is_unregistered());
  EXPECT_FALSE(RegionId::FromParts(0xfffe, 0xffff, 0xffffffff).is_unregistered());
}

TEST(RegionIdTest, ToStringNamesTheParts) {
  EXPECT_EQ(RegionId::FromParts(3, 1, 17).ToString(), "region 3 (generation 17, registry 1)");
  EXPECT_EQ(RegionId::kUnregistered.ToString(), "unregistered memory");
}

TEST(RegionIdTest, Hashes) {
  std::unordered_set<RegionId, absl::Hash<RegionId>> ids;
  for (uint32_t generation = 1; generation <= 100; ++generation) {
    ids.insert(RegionId::FromParts(1, 1, generation));
    ids.insert(RegionId::FromParts(1, 1, generation));
  }
  EXPECT_EQ(ids.size(), 100u);
  EXPECT_TRUE(ids.contains(RegionId::FromParts(1, 1, 50)));
}

}  // namespace
}  // namespace fixpool::io
