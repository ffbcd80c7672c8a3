#include "fixpool/io/memory_region.h"

#include <cstdint>
#include <random>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/seed.h"

namespace fixpool::io {
namespace {

using ::testing::HasSubstr;

void* At(uintptr_t address) { return reinterpret_cast<void*>(address); }

TEST(MemoryRegionTest, HoldsWhatItWasGiven) {
  const auto region = MemoryRegion::Create(At(0x10000), 4096);
  ASSERT_TRUE(region.ok());
  EXPECT_EQ(region->base(), At(0x10000));
  EXPECT_EQ(region->end(), At(0x11000));
  EXPECT_EQ(region->size_bytes(), 4096u);
  EXPECT_EQ(*region, *MemoryRegion::Create(At(0x10000), 4096));
  EXPECT_FALSE(*region == *MemoryRegion::Create(At(0x10000), 4097));
  EXPECT_FALSE(*region == *MemoryRegion::Create(At(0x20000), 4096));
}

TEST(MemoryRegionTest, RejectsNullBase) {
  for (const size_t size_bytes : {size_t{0}, size_t{4096}}) {
    const auto region = MemoryRegion::Create(nullptr, size_bytes);
    EXPECT_TRUE(absl::IsInvalidArgument(region.status()));
    EXPECT_THAT(region.status().message(), HasSubstr("null"));
  }
}

TEST(MemoryRegionTest, RejectsZeroBytes) {
  const auto region = MemoryRegion::Create(At(0x10000), 0);
  EXPECT_TRUE(absl::IsInvalidArgument(region.status()));
  EXPECT_THAT(region.status().message(), HasSubstr("0 bytes"));
}

TEST(MemoryRegionTest, TakesOneGibibyteAndNotOneByteMore) {
  EXPECT_EQ(MemoryRegion::kMaxBytes, 1073741824u);
  EXPECT_TRUE(MemoryRegion::Create(At(0x10000), MemoryRegion::kMaxBytes).ok());
  EXPECT_TRUE(MemoryRegion::Create(At(0x10000), 1).ok());
  for (const size_t size_bytes : {MemoryRegion::kMaxBytes + 1, size_t{1} << 40}) {
    const auto region = MemoryRegion::Create(At(0x10000), size_bytes);
    EXPECT_TRUE(absl::IsInvalidArgument(region.status()));
    EXPECT_THAT(region.status().message(), HasSubstr("split"));
  }
}

TEST(MemoryRegionTest, RejectsWhatWrapsAround) {
  for (const auto& [base, size_bytes] :
       {std::pair(UINTPTR_MAX, size_t{1}), std::pair(UINTPTR_MAX - 4095, size_t{4096}),
        std::pair(uintptr_t{4096}, SIZE_MAX), std::pair(UINTPTR_MAX, SIZE_MAX)}) {
    const auto region = MemoryRegion::Create(At(base), size_bytes);
    EXPECT_TRUE(absl::IsInvalidArgument(region.status()));
    EXPECT_THAT(region.status().message(), HasSubstr("wrap"));
  }
  EXPECT_TRUE(MemoryRegion::Create(At(UINTPTR_MAX - 4095), 4095).ok());
}

TEST(MemoryRegionTest, ContainsItsEdges) {
  const MemoryRegion region = *MemoryRegion::Create(At(0x10000), 4096);
  EXPECT_TRUE(region.Contains(At(0x10000), 4096));
  EXPECT_TRUE(region.Contains(At(0x10000), 0));
  EXPECT_TRUE(region.Contains(At(0x11000), 0));
  EXPECT_TRUE(region.Contains(At(0x10fff), 1));
  EXPECT_FALSE(region.Contains(At(0x10000), 4097));
  EXPECT_FALSE(region.Contains(At(0x10fff), 2));
  EXPECT_FALSE(region.Contains(At(0x0ffff), 1));
  EXPECT_FALSE(region.Contains(At(0x0ffff), 0));
  EXPECT_FALSE(region.Contains(At(0x11001), 0));
  EXPECT_FALSE(region.Contains(nullptr, 0));
  EXPECT_FALSE(region.Contains(At(0x10001), SIZE_MAX));
}

// 128 bits cannot overflow.
bool NaivelyContains(const MemoryRegion& region, uintptr_t data, size_t length_bytes) {
  const unsigned __int128 base = reinterpret_cast<uintptr_t>(region.base());
  const unsigned __int128 begin = data;
  return begin >= base && begin + length_bytes <= base + region.size_bytes();
}

TEST(MemoryRegionTest, ContainsAgreesWithTheNaiveModelOnAnyBitPattern) {
  std::mt19937_64 random(tests::Seed());
  int inside = 0;
  int outside = 0;
  for (int i = 0; i < 300'000; ++i) {
    const size_t size_bytes = 1 + random() % MemoryRegion::kMaxBytes;
    const uintptr_t base = 1 + random() % (UINTPTR_MAX - size_bytes);
    const MemoryRegion region = *MemoryRegion::Create(At(base), size_bytes);
    uintptr_t data = random();
    size_t length_bytes = random();
    if (random() % 4 != 0) data = base + random() % (size_bytes + 2) - 1;
    if (random() % 4 == 0) length_bytes = random() % (size_bytes + 2);
    if (random() % 4 == 0) length_bytes = base + size_bytes - data + random() % 3 - 1;
    if (random() % 8 == 0) length_bytes = uintptr_t{0} - data;  // ends at address 0
    const bool expected = NaivelyContains(region, data, length_bytes);
    ASSERT_EQ(region.Contains(At(data), length_bytes), expected)
        << std::hex << base << "+" << size_bytes << ": " << data << "+" << length_bytes;
    ++(expected ? inside : outside);
  }
  EXPECT_GT(inside, 1000);
  EXPECT_GT(outside, 1000);
}

}  // namespace
}  // namespace fixpool::io
