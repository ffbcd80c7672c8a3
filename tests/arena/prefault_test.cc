#include "fixpool/arena/prefault.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "fixpool/arena/address_range.h"
#include "gtest/gtest.h"
#include "tests/support/address_space.h"

namespace fixpool::arena {
namespace {

// Several chunks, so that several threads have something to do.
constexpr size_t kSize = (size_t{20} << 20) + 4096;

AddressRange SmallPages() {
  AddressRange range = AddressRange::MapOrdinary(kSize).value();
  EXPECT_EQ(range.Advise(MADV_NOHUGEPAGE), 0);
  return range;
}

TEST(PrefaultTest, PutsZeroedPagesBehindAllOfIt) {
  for (const uint32_t threads : {0u, 1u, 4u, 1000u}) {
    const AddressRange range = SmallPages();
    EXPECT_FALSE(tests::AllResident(range.base(), kSize));
    ASSERT_EQ(Prefault({.base = range.base(), .size_bytes = kSize, .threads = threads}), 0);
    EXPECT_TRUE(tests::AllResident(range.base(), kSize));
    for (size_t i = 0; i < kSize; i += 4096) ASSERT_EQ(range.base()[i], std::byte{0});
  }
}

TEST(PrefaultTest, ChangesNothingThatIsThereAlready) {
  const AddressRange range = SmallPages();
  range.base()[1] = std::byte{7};
  ASSERT_EQ(Prefault({.base = range.base(), .size_bytes = kSize}), 0);
  EXPECT_EQ(range.base()[1], std::byte{7});
}

TEST(PrefaultTest, AnswersWithAnErrnoWhereAccessWouldKill) {
  const AddressRange range = SmallPages();
  ASSERT_EQ(mprotect(range.base(), 4096, PROT_READ), 0);
  EXPECT_NE(Prefault({.base = range.base(), .size_bytes = kSize}), 0);
  EXPECT_EQ(TouchThroughKernel(range.base(), kSize, 4096), EFAULT);
}

TEST(PrefaultTest, AnswersWithAnErrnoWhereNothingIsMapped) {
  const AddressRange range = SmallPages();
  std::byte* const hole = range.base() + (size_t{8} << 20);
  ASSERT_EQ(munmap(hole, 4096), 0);
  EXPECT_EQ(Prefault({.base = range.base(), .size_bytes = kSize, .threads = 2}), ENOMEM);
  EXPECT_EQ(TouchThroughKernel(range.base(), kSize, 4096), EFAULT);
}

TEST(PrefaultTest, SaysThatTheHugePagePoolIsEmptyInsteadOfDyingOfIt) {
  // Without a promise (MAP_NORESERVE) touching is what finds out.
  void* const base =
      mmap(nullptr, size_t{2} << 20, PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_HUGETLB | (21 << 26), -1, 0);
  if (base == MAP_FAILED) GTEST_SKIP() << "no hugetlb: " << std::strerror(errno);
  std::byte* const bytes = static_cast<std::byte*>(base);
  const size_t page_bytes = size_t{2} << 20;
  const int error = Prefault({.base = bytes, .size_bytes = page_bytes, .page_bytes = page_bytes});
  const int touch_error = TouchThroughKernel(bytes, page_bytes, page_bytes);
  munmap(base, page_bytes);
  if (error == 0) GTEST_SKIP() << "this machine has free huge pages";
  EXPECT_EQ(error, EFAULT);
  EXPECT_EQ(touch_error, EFAULT);
}

TEST(PrefaultTest, TouchingThroughTheKernelReachesEveryPage) {
  const AddressRange range = SmallPages();
  ASSERT_EQ(TouchThroughKernel(range.base(), kSize, 4096), 0);
  EXPECT_TRUE(tests::AllResident(range.base(), kSize));
}

}  // namespace
}  // namespace fixpool::arena
