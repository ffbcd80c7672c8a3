#include "benchmarks/page_sequence.h"

#include <cstdint>
#include <vector>

#include "gtest/gtest.h"

namespace fixpool::benchmarks {
namespace {

TEST(FastRandomTest, StaysBelowItsLimit) {
  FastRandom random(1);
  for (const uint64_t limit : {uint64_t{1}, uint64_t{2}, uint64_t{1000}, ~uint64_t{0}}) {
    for (int i = 0; i < 1000; ++i) EXPECT_LT(random.Below(limit), limit);
  }
}

TEST(PageSequenceTest, RandomReachesEveryPageAboutAlike) {
  PageSequence sequence({.pages = 16, .seed = 5});
  std::vector<int> seen(16);
  for (int i = 0; i < 16'000; ++i) ++seen[sequence.NextPage()];
  for (const int count : seen) {
    EXPECT_GT(count, 800);
    EXPECT_LT(count, 1200);
  }
}

TEST(PageSequenceTest, SameSeedSamePages) {
  PageSequence a({.pages = 1000, .seed = 5}), b({.pages = 1000, .seed = 5});
  PageSequence other_seed({.pages = 1000, .seed = 6});
  PageSequence other_thread({.pages = 1000, .thread = 1, .threads = 2, .seed = 5});
  int same_seed = 0, same_thread = 0;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t page = a.NextPage();
    EXPECT_EQ(page, b.NextPage());
    same_seed += page == other_seed.NextPage();
    same_thread += page == other_thread.NextPage();
  }
  EXPECT_LT(same_seed, 20);
  EXPECT_LT(same_thread, 20);
}

TEST(PageSequenceTest, SequentialWrapsAround) {
  PageSequence sequence({.pattern = Pattern::kSequential, .pages = 3});
  for (const uint64_t expected : {0, 1, 2, 0, 1, 2, 0}) EXPECT_EQ(sequence.NextPage(), expected);
}

TEST(PageSequenceTest, SequentialThreadsBeginAtTheirShare) {
  for (uint32_t thread = 0; thread < 4; ++thread) {
    PageSequence sequence(
        {.pattern = Pattern::kSequential, .pages = 100, .thread = thread, .threads = 4});
    EXPECT_EQ(sequence.NextPage(), thread * 25u);
  }
}

TEST(PageSequenceTest, MoreThreadsThanPages) {
  for (uint32_t thread = 0; thread < 8; ++thread) {
    PageSequence sequence(
        {.pattern = Pattern::kSequential, .pages = 2, .thread = thread, .threads = 8});
    for (int i = 0; i < 5; ++i) EXPECT_LT(sequence.NextPage(), 2u);
  }
}

TEST(PageSequenceTest, MixedIsHalfAndHalf) {
  PageSequence reads({.operation = Operation::kRead, .pages = 10});
  PageSequence writes({.operation = Operation::kWrite, .pages = 10});
  PageSequence mixed({.operation = Operation::kMixed, .pages = 10});
  int written = 0;
  for (int i = 0; i < 10'000; ++i) {
    EXPECT_FALSE(reads.NextIsWrite());
    EXPECT_TRUE(writes.NextIsWrite());
    written += mixed.NextIsWrite();
  }
  EXPECT_GT(written, 4800);
  EXPECT_LT(written, 5200);
}

}  // namespace
}  // namespace fixpool::benchmarks
