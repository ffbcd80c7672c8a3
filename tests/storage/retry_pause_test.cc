#include "fixpool/storage/retry_pause.h"

#include "gtest/gtest.h"

namespace fixpool::tests {
namespace {

using storage::RetryPause;

TEST(RetryPauseTest, DoublesUpToTheLongest) {
  RetryPause pause(10, 50);
  EXPECT_FALSE(pause.failing());
  EXPECT_EQ(pause.until_ns(), 0);
  for (const int64_t length_ns : {10, 20, 40, 50, 50}) {
    pause.Lengthen(1000);
    EXPECT_EQ(pause.until_ns(), 1000 + length_ns);
    EXPECT_TRUE(pause.failing());
  }
}

TEST(RetryPauseTest, StartedAnewItLastsAsLongAsBefore) {
  RetryPause pause(10, 50);
  pause.Lengthen(1000);
  pause.Lengthen(1000);
  pause.StartAnew();
  EXPECT_FALSE(pause.failing());
  EXPECT_EQ(pause.until_ns(), 1020);
  pause.Lengthen(2000);
  EXPECT_EQ(pause.until_ns(), 2010);
}

TEST(RetryPauseTest, EndedItIsOver) {
  RetryPause pause(10, 50);
  pause.Lengthen(1000);
  pause.End();
  EXPECT_FALSE(pause.failing());
  EXPECT_EQ(pause.until_ns(), 0);
}

}  // namespace
}  // namespace fixpool::tests
