#include "fixpool/io/check.h"

#include "gtest/gtest.h"

namespace fixpool::io {
namespace {

TEST(CheckTest, PassesWithoutLookingAtTheMessage) {
  int looked = 0;
  FIXPOOL_CHECK(1 + 1 == 2, (++looked, "never"));
  EXPECT_EQ(looked, 0);
}

TEST(CheckDeathTest, FailureNamesFileConditionAndMessage) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(FIXPOOL_CHECK(1 + 1 == 3, "arithmetic"),
               "check_test\\.cc:[0-9]+: CHECK\\(1 \\+ 1 == 3\\) failed: arithmetic");
}

}  // namespace
}  // namespace fixpool::io
