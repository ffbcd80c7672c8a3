#include "fixpool/arena/ladder.h"

#include "gtest/gtest.h"

namespace fixpool::arena {
namespace {

TEST(LadderTest, PrefersEveryRungByDefault) {
  const Ladder ladder;
  for (const PageBacking rung : kPageBackings) {
    EXPECT_EQ(ladder.PolicyOf(rung), RungPolicy::kPrefer);
  }
  EXPECT_EQ(ladder.Best(), PageBacking::k1GiB);
  EXPECT_EQ(ladder.ToString(), "1g, 2m, thp, 4k");
}

TEST(LadderTest, OnlyRequiresOneRungAndForbidsTheOthers) {
  for (const PageBacking only : kPageBackings) {
    const Ladder ladder = Ladder::Only(only);
    for (const PageBacking rung : kPageBackings) {
      EXPECT_EQ(ladder.PolicyOf(rung), rung == only ? RungPolicy::kRequire : RungPolicy::kNever);
    }
    EXPECT_EQ(ladder.Best(), only);
    EXPECT_EQ(ladder.ToString(), std::string(PageBackingName(only)) + "!");
  }
}

TEST(LadderTest, KnowsThatItHasNoRung) {
  const Ladder ladder{.one_gib = RungPolicy::kNever,
                      .two_mib = RungPolicy::kNever,
                      .transparent = RungPolicy::kNever,
                      .four_kib = RungPolicy::kNever};
  EXPECT_EQ(ladder.Best(), std::nullopt);
  EXPECT_EQ(ladder.ToString(), "none");
}

}  // namespace
}  // namespace fixpool::arena
