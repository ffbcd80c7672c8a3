#include "fixpool/arena/format_bytes.h"

#include "gtest/gtest.h"

namespace fixpool::arena {
namespace {

TEST(FormatBytesTest, UsesTheLargestUnitThatRoundsNothing) {
  EXPECT_EQ(FormatBytes(0), "0 bytes");
  EXPECT_EQ(FormatBytes(17), "17 bytes");
  EXPECT_EQ(FormatBytes(4096), "4 KiB");
  EXPECT_EQ(FormatBytes(4097), "4097 bytes");
  EXPECT_EQ(FormatBytes(uint64_t{1536} << 20), "1536 MiB");
  EXPECT_EQ(FormatBytes(uint64_t{1} << 30), "1 GiB");
  EXPECT_EQ(FormatBytes(uint64_t{1} << 42), "4096 GiB");
}

}  // namespace
}  // namespace fixpool::arena
