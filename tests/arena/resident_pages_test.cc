#include "fixpool/arena/resident_pages.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "absl/status/status.h"
#include "fixpool/arena/address_range.h"
#include "gtest/gtest.h"
#include "tests/support/address_space.h"

namespace fixpool::arena {
namespace {

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25  // Linux 6.1
#endif

constexpr size_t kSize = size_t{4} << 20;

TEST(ResidentPagesTest, CountsOrdinaryPagesThatWereTouched) {
  const AddressRange range = AddressRange::MapOrdinary(kSize).value();
  ASSERT_EQ(range.Advise(MADV_NOHUGEPAGE), 0);
  EXPECT_EQ(ReadResidentPages(range.base(), kSize)->ordinary_bytes, 0u);
  std::memset(range.base(), 1, 3 * 4096);
  const ResidentPages pages = ReadResidentPages(range.base(), kSize).value();
  EXPECT_EQ(pages.ordinary_bytes, 3 * 4096u);
  EXPECT_EQ(pages.kernel_page_bytes, 4096u);
  EXPECT_EQ(pages.transparent_bytes, 0u);
  EXPECT_EQ(pages.hugetlb_bytes, 0u);
}

TEST(ResidentPagesTest, AddsUpWhatMadviseCutInPieces) {
  const AddressRange range = AddressRange::MapOrdinary(kSize).value();
  ASSERT_EQ(range.Advise(MADV_NOHUGEPAGE), 0);
  ASSERT_EQ(madvise(range.base(), kSize / 2, MADV_DONTDUMP), 0);
  range.base()[0] = std::byte{1};
  range.base()[kSize - 1] = std::byte{1};
  EXPECT_EQ(ReadResidentPages(range.base(), kSize)->ordinary_bytes, 2 * 4096u);
}

TEST(ResidentPagesTest, CountsTransparentHugePages) {
  const AddressRange range = AddressRange::MapOrdinary(kSize).value();
  ASSERT_EQ(range.Advise(MADV_NOHUGEPAGE), 0);
  std::memset(range.base(), 1, kSize);
  ASSERT_EQ(range.Advise(MADV_HUGEPAGE), 0);
  if (madvise(range.base(), kSize / 2, MADV_COLLAPSE) != 0) {
    GTEST_SKIP() << "MADV_COLLAPSE: " << std::strerror(errno);
  }
  // The kernel may make the other half huge as well, whenever it comes by.
  while (true) {
    const size_t before_kib = tests::VmaAt(range.base())->transparent_kib;
    const ResidentPages pages = ReadResidentPages(range.base(), kSize).value();
    if (tests::VmaAt(range.base())->transparent_kib != before_kib) continue;
    EXPECT_GE(pages.transparent_bytes, kSize / 2);
    EXPECT_EQ(pages.transparent_bytes, before_kib * 1024);
    EXPECT_EQ(pages.ordinary_bytes, kSize);
    break;
  }
}

TEST(ResidentPagesTest, NeighboursAreNotCounted) {
  const AddressRange first = AddressRange::MapOrdinary(kSize).value();
  const AddressRange second = AddressRange::MapOrdinary(kSize).value();
  std::memset(first.base(), 1, kSize);
  const auto pages = ReadResidentPages(second.base(), kSize);
  ASSERT_TRUE(pages.ok()) << pages.status();
  EXPECT_EQ(pages->ordinary_bytes, 0u);
}

TEST(ResidentPagesTest, RefusesAPartOfAMapping) {
  const AddressRange range = AddressRange::MapOrdinary(kSize).value();
  for (const size_t skipped : {size_t{0}, size_t{4096}}) {
    const absl::Status status = ReadResidentPages(range.base() + skipped, kSize - 4096).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  }
}

TEST(ResidentPagesTest, FindsNothingWhereNothingIsMapped) {
  std::byte* base;
  {
    const AddressRange range = AddressRange::MapOrdinary(kSize).value();
    base = range.base();
  }
  EXPECT_EQ(ReadResidentPages(base, kSize).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace fixpool::arena
