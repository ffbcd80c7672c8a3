#include "fixpool/arena/page_backing.h"

#include "gtest/gtest.h"

namespace fixpool::arena {
namespace {

TEST(PageBackingTest, NamesAreThoseOfLogsAndCommandLines) {
  EXPECT_EQ(PageBackingName(PageBacking::k1GiB), "1g");
  EXPECT_EQ(PageBackingName(PageBacking::k2MiB), "2m");
  EXPECT_EQ(PageBackingName(PageBacking::kTransparent), "thp");
  EXPECT_EQ(PageBackingName(PageBacking::k4KiB), "4k");
}

TEST(PageBackingTest, ListsAllFromTheBestDownWithTheirSizes) {
  ASSERT_EQ(std::size(kPageBackings), 4u);
  size_t previous_bytes = size_t{1} << 31;
  for (const PageBacking backing : kPageBackings) {
    EXPECT_LE(PageBackingBytes(backing), previous_bytes);
    EXPECT_FALSE(PageBackingPhrase(backing).empty());
    previous_bytes = PageBackingBytes(backing);
  }
  EXPECT_EQ(PageBackingBytes(PageBacking::k1GiB), size_t{1} << 30);
  EXPECT_EQ(PageBackingBytes(PageBacking::kTransparent), size_t{2} << 20);
  EXPECT_EQ(PageBackingBytes(PageBacking::k4KiB), 4096u);
}

}  // namespace
}  // namespace fixpool::arena
