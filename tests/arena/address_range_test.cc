#include "fixpool/arena/address_range.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "fixpool/io/error.h"
#include "gtest/gtest.h"
#include "tests/support/address_space.h"
#include "tests/support/child_process.h"

namespace fixpool::arena {
namespace {

using tests::VmaAt;
using tests::VmaView;

TEST(AddressRangeTest, StartsAtAMultipleOfTwoMiB) {
  for (const size_t size_bytes : {size_t{4096}, size_t{12288}, size_t{5} << 20}) {
    const AddressRange range = AddressRange::MapOrdinary(size_bytes).value();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(range.base()) % (size_t{2} << 20), 0u);
    EXPECT_EQ(range.size_bytes(), size_bytes);
    range.base()[0] = range.base()[size_bytes - 1] = std::byte{1};
  }
}

TEST(AddressRangeTest, KeepsInaccessiblePagesOnBothSides) {
  const AddressRange range = AddressRange::MapOrdinary(8192).value();
  for (const std::byte* guard : {range.base() - 1, range.base() + 8192}) {
    const std::optional<VmaView> vma = VmaAt(guard);
    ASSERT_TRUE(vma.has_value());
    EXPECT_EQ(vma->permissions, "---p");
  }
}

TEST(AddressRangeTest, IsAMappingOfItsOwnAmongManyAlike) {
  std::vector<AddressRange> ranges;
  for (int i = 0; i < 20; ++i) ranges.push_back(AddressRange::MapOrdinary(1 << 20).value());
  for (const AddressRange& range : ranges) {
    const std::optional<VmaView> vma = VmaAt(range.base());
    ASSERT_TRUE(vma.has_value());
    EXPECT_EQ(vma->begin, reinterpret_cast<uintptr_t>(range.base()));
    EXPECT_EQ(vma->end - vma->begin, size_t{1} << 20);
  }
}

TEST(AddressRangeTest, UnmapsItselfAndItsGuards) {
  std::byte* base;
  {
    const AddressRange range = AddressRange::MapOrdinary(1 << 20).value();
    base = range.base();
  }
  for (const std::byte* address : {base - 1, base, base + (1 << 20) - 1, base + (1 << 20)}) {
    const std::optional<VmaView> vma = VmaAt(address);
    // An instrumented program may have mapped something of its own there since.
    EXPECT_TRUE(!vma.has_value() || vma->begin != reinterpret_cast<uintptr_t>(base));
  }
}

TEST(AddressRangeTest, MovesWithoutUnmapping) {
  AddressRange first = AddressRange::MapOrdinary(4096).value();
  std::byte* const base = first.base();
  AddressRange second(std::move(first));
  EXPECT_EQ(first.base(), nullptr);
  AddressRange third = AddressRange::MapOrdinary(8192).value();
  third = std::move(second);
  EXPECT_EQ(third.base(), base);
  EXPECT_EQ(third.size_bytes(), 4096u);
  base[0] = std::byte{1};
}

TEST(AddressRangeTest, AForkedChildLeavesTheAddressesToWhoeverHasThem) {
  auto range = std::make_unique<AddressRange>(AddressRange::MapOrdinary(4096).value());
  ASSERT_EQ(range->Advise(MADV_DONTFORK), 0);
  FIXPOOL_IN_CHILD([&range] {
    std::byte* const base = range->base();
    void* const other = mmap(base, 4096, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    // Else a sanitizer has put something there, which will do as well.
    EXPECT_TRUE(other == base || other == MAP_FAILED);
    range.reset();
    EXPECT_TRUE(VmaAt(base).has_value());
    return std::string();
  });
}

TEST(AddressRangeTest, PassesOnTheErrnoOfAdvice) {
  const AddressRange range = AddressRange::MapOrdinary(4096).value();
  EXPECT_EQ(range.Advise(-1), EINVAL);
}

TEST(AddressRangeTest, RetiresAndIsMovedOnto) {
  AddressRange retired = AddressRange::MapOrdinary(1 << 20).value();
  std::byte* const base = retired.base();
  base[0] = std::byte{1};
  ASSERT_TRUE(retired.Retire().ok());
  EXPECT_TRUE(retired.is_retired());
  EXPECT_EQ(base[0], std::byte{0});

  AddressRange range = AddressRange::MapOrdinary(1 << 20).value();
  std::byte* const old_base = range.base();
  range.base()[0] = std::byte{2};
  ASSERT_TRUE(range.MoveOnto(retired).ok());
  EXPECT_EQ(range.base(), base);
  EXPECT_EQ(range.size_bytes(), size_t{1} << 20);
  EXPECT_FALSE(range.is_retired());
  EXPECT_EQ(retired.base(), nullptr);
  EXPECT_EQ(base[0], std::byte{2});
  const std::optional<VmaView> left = VmaAt(old_base);
  EXPECT_TRUE(!left.has_value() || left->begin != reinterpret_cast<uintptr_t>(old_base));
}

TEST(AddressRangeTest, IsNotMovedOntoWhatIsInUseOrOfAnotherSize) {
  AddressRange range = AddressRange::MapOrdinary(8192).value();
  AddressRange used = AddressRange::MapOrdinary(8192).value();
  used.base()[0] = std::byte{1};
  EXPECT_TRUE(absl::IsInvalidArgument(range.MoveOnto(used)));
  EXPECT_EQ(used.base()[0], std::byte{1});
  AddressRange larger = AddressRange::MapOrdinary(12288).value();
  ASSERT_TRUE(larger.Retire().ok());
  EXPECT_TRUE(absl::IsInvalidArgument(range.MoveOnto(larger)));
  EXPECT_EQ(larger.base()[0], std::byte{0});
  range.base()[0] = std::byte{1};
}

TEST(AddressRangeTest, ReportsThatMemoryIsTooMuch) {
  for (const size_t size_bytes : {size_t{1} << 60, SIZE_MAX - 4095}) {
    const absl::Status status = AddressRange::MapOrdinary(size_bytes).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_EQ(io::ErrnoOf(status), ENOMEM);
  }
}

TEST(AddressRangeTest, ReportsAHugePageSizeThatTheMachineHasNot) {
  const absl::Status status = AddressRange::MapHugetlb(16 << 20, 16 << 20).status();
  EXPECT_EQ(io::ErrnoOf(status), EINVAL) << status;
}

}  // namespace
}  // namespace fixpool::arena
