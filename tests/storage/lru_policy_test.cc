#include "fixpool/storage/lru_policy.h"

#include <vector>

#include "gtest/gtest.h"
#include "tests/storage/policy_tester.h"

namespace fixpool::storage {
namespace {

using tests::PolicyTester;
using Verdict = PolicyTester::Verdict;
using Frames = std::vector<uint32_t>;

class LruPolicyTest : public ::testing::Test {
 protected:
  void LoadAll(Hint hint = Hint::kNormal) {
    for (uint32_t frame = 0; frame < 4; ++frame) tester_.Load(frame, hint);
  }

  LruPolicy policy_{4, 8};
  PolicyTester tester_{policy_};
};

TEST_F(LruPolicyTest, EvictsWhatWasNotUsedForLongest) {
  LoadAll();
  EXPECT_TRUE(policy_.needs_every_hit());
  EXPECT_TRUE(tester_.Hit(1));
  EXPECT_TRUE(tester_.Hit(0));
  EXPECT_EQ(tester_.EvictAll(), Frames({2, 3, 1, 0}));
  EXPECT_FALSE(tester_.Hit(0));  // it has left
  EXPECT_EQ(tester_.Evict(), PolicyTester::kNone);
}

TEST_F(LruPolicyTest, HintsDecideWhoGoesFirst) {
  tester_.Load(0, Hint::kKeep);
  tester_.Load(1, Hint::kPrefetch);
  tester_.Load(2);
  tester_.Load(3, Hint::kScan);
  EXPECT_FALSE(tester_.Hit(3, Hint::kScan));
  EXPECT_TRUE(tester_.Hit(1, Hint::kKeep));
  EXPECT_EQ(tester_.EvictAll(), Frames({3, 2, 0, 1}));
}

TEST_F(LruPolicyTest, PinnedPagesAreSkippedOnceAndAllAreProposed) {
  LoadAll(Hint::kKeep);
  EXPECT_EQ(tester_.Evict({0, 1, 2, 3}), PolicyTester::kNone);
  EXPECT_EQ(tester_.proposals(), Frames({0, 1, 2, 3, 0, 1, 2, 3}));
  EXPECT_EQ(tester_.Evict({0}), 1u);
  EXPECT_EQ(tester_.Evict({0}), 2u);
  EXPECT_EQ(tester_.proposals(), Frames({2}));
}

TEST_F(LruPolicyTest, WrittenPagesComeBackBeforeOthersUnlessHit) {
  LoadAll();
  EXPECT_EQ(tester_.Pick(2,
                         [](uint32_t frame) {
                           return frame < 2    ? Verdict::kDefer
                                  : frame == 2 ? Verdict::kTake
                                               : Verdict::kStop;
                         }),
            Frames({2}));
  tester_.Hit(0);
  tester_.Written(0);
  tester_.Written(1);
  EXPECT_EQ(tester_.EvictAll(), Frames({1, 3, 0}));
}

TEST_F(LruPolicyTest, FailedWriteIsNotRemembered) {
  LoadAll();
  (void)tester_.Pick(1,
                     [](uint32_t frame) { return frame == 0 ? Verdict::kDefer : Verdict::kStop; });
  tester_.WriteFailed(0);
  tester_.Written(0);
  EXPECT_EQ(tester_.EvictAll(), Frames({1, 2, 3, 0}));
}

TEST_F(LruPolicyTest, GrowsAndForgetsDroppedPages) {
  LoadAll();
  policy_.SetFrameCount(8);
  for (uint32_t frame = 4; frame < 8; ++frame) tester_.Load(frame);
  for (uint32_t frame = 0; frame < 6; ++frame) tester_.Drop(frame);
  policy_.SetFrameCount(2);
  EXPECT_EQ(tester_.EvictAll(), Frames({6, 7}));
  policy_.DiscardFrom(2);
  EXPECT_EQ(policy_.max_frames(), 2u);
  ASSERT_TRUE(policy_.MakeRoom(8).ok());
  policy_.SetFrameCount(8);
  for (uint32_t frame = 0; frame < 8; ++frame) tester_.Load(7 - frame);
  EXPECT_EQ(tester_.EvictAll(), Frames({7, 6, 5, 4, 3, 2, 1, 0}));
}

}  // namespace
}  // namespace fixpool::storage
