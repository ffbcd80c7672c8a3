#include "fixpool/storage/clock_policy.h"

#include <set>
#include <vector>

#include "gtest/gtest.h"
#include "tests/storage/policy_tester.h"

namespace fixpool::storage {
namespace {

using tests::PolicyTester;
using Verdict = PolicyTester::Verdict;
using Frames = std::vector<uint32_t>;

class ClockPolicyTest : public ::testing::Test {
 protected:
  static constexpr uint32_t kFrames = 4;

  void LoadAll(Hint hint = Hint::kNormal) {
    for (uint32_t frame = 0; frame < kFrames; ++frame) tester_.Load(frame, hint);
  }

  ClockPolicy policy_{kFrames, 2 * kFrames};
  PolicyTester tester_{policy_};
};

TEST_F(ClockPolicyTest, HasNothingToOfferAtFirst) {
  EXPECT_EQ(tester_.Evict(), PolicyTester::kNone);
}

TEST_F(ClockPolicyTest, EvictsInTheOrderOfLoadingIfNothingIsHit) {
  LoadAll();
  EXPECT_EQ(tester_.EvictAll(), Frames({0, 1, 2, 3}));
}

TEST_F(ClockPolicyTest, SparesWhatWasHitForOneRound) {
  LoadAll();
  EXPECT_TRUE(tester_.Hit(0));
  EXPECT_FALSE(tester_.Hit(0));  // it has its chance
  EXPECT_EQ(tester_.EvictAll(), Frames({1, 2, 3, 0}));
}

TEST_F(ClockPolicyTest, HintsDecideWhoGoesFirst) {
  tester_.Load(0, Hint::kKeep);
  tester_.Load(1, Hint::kNormal);
  tester_.Load(2, Hint::kScan);
  tester_.Load(3, Hint::kPrefetch);
  EXPECT_EQ(tester_.EvictAll(), Frames({2, 1, 3, 0}));
}

TEST_F(ClockPolicyTest, HitOfAScanGivesNoChance) {
  LoadAll();
  EXPECT_FALSE(tester_.Hit(0, Hint::kScan));
  EXPECT_EQ(tester_.Evict(), 0u);
}

TEST_F(ClockPolicyTest, FirstHitOfAPrefetchedPageGivesNoChance) {
  LoadAll(Hint::kPrefetch);
  tester_.Hit(0);
  tester_.Hit(1);
  tester_.Hit(1);
  EXPECT_EQ(tester_.EvictAll(), Frames({0, 2, 3, 1}));
}

TEST_F(ClockPolicyTest, ProposesEverybodyAndEnds) {
  LoadAll(Hint::kKeep);
  EXPECT_EQ(tester_.Evict({0, 1, 2, 3}), PolicyTester::kNone);
  const Frames& proposals = tester_.proposals();
  EXPECT_EQ(std::set<uint32_t>(proposals.begin(), proposals.end()).size(), kFrames);
  EXPECT_LE(proposals.size(), 2 * kFrames);
}

TEST_F(ClockPolicyTest, StopsWhenTold) {
  LoadAll();
  EXPECT_TRUE(tester_.Pick(1, [](uint32_t) { return Verdict::kStop; }).empty());
  EXPECT_EQ(tester_.proposals(), Frames({0}));
}

TEST_F(ClockPolicyTest, WrittenPagesComeBackBeforeOthers) {
  LoadAll();
  // 0 and 1 are dirty, 2 is taken.
  EXPECT_EQ(
      tester_.Pick(1, [](uint32_t frame) { return frame < 2 ? Verdict::kDefer : Verdict::kTake; }),
      Frames({2}));
  tester_.Written(1);
  tester_.Written(0);
  EXPECT_EQ(tester_.EvictAll(), Frames({1, 0, 3}));
}

TEST_F(ClockPolicyTest, WrittenPageThatWasHitMeanwhileStays) {
  for (uint32_t i = 0; i < 2; ++i) tester_.Load(i);
  (void)tester_.Pick(1,
                     [](uint32_t frame) { return frame == 0 ? Verdict::kDefer : Verdict::kStop; });
  tester_.Hit(0);
  tester_.Written(0);
  EXPECT_EQ(tester_.Evict(), 1u);
}

TEST_F(ClockPolicyTest, PageThatLeftIsNotProposed) {
  tester_.Load(0);
  tester_.Load(1);
  (void)tester_.Pick(1, [](uint32_t) { return Verdict::kDefer; });
  tester_.Written(0);
  tester_.Drop(0);  // its file was closed
  EXPECT_EQ(tester_.EvictAll(), Frames({1}));
}

TEST_F(ClockPolicyTest, FailedWriteIsNotRemembered) {
  tester_.Load(0);
  tester_.Load(1);
  tester_.Load(2);
  (void)tester_.Pick(1,
                     [](uint32_t frame) { return frame == 0 ? Verdict::kDefer : Verdict::kStop; });
  tester_.WriteFailed(0);
  tester_.Written(0);  // by a flush, later
  EXPECT_EQ(tester_.Evict(), 2u);
}

TEST_F(ClockPolicyTest, GrowsAndForgetsDroppedPages) {
  LoadAll();
  policy_.SetFrameCount(2 * kFrames);
  for (uint32_t frame = kFrames; frame < 2 * kFrames; ++frame) tester_.Load(frame);
  for (uint32_t frame = 0; frame < 6; ++frame) tester_.Drop(frame);
  policy_.SetFrameCount(2);
  EXPECT_EQ(tester_.EvictAll(), Frames({6, 7}));
}

TEST_F(ClockPolicyTest, FramesThatWereGivenBackAreAsNew) {
  policy_.SetFrameCount(2 * kFrames);
  for (uint32_t frame = 0; frame < 2 * kFrames; ++frame) tester_.Load(frame, Hint::kScan);
  for (uint32_t frame = 2; frame < 2 * kFrames; ++frame) tester_.Drop(frame);
  policy_.SetFrameCount(2);
  policy_.DiscardFrom(2);
  EXPECT_EQ(policy_.max_frames(), 2u);
  ASSERT_TRUE(policy_.MakeRoom(2 * kFrames).ok());
  policy_.SetFrameCount(2 * kFrames);
  for (uint32_t frame = 2; frame < 2 * kFrames; ++frame) tester_.Load(frame);
  std::vector<uint32_t> all;
  for (uint32_t frame = 0; frame < 2 * kFrames; ++frame) all.push_back(frame);
  EXPECT_EQ(tester_.EvictAll(), all);
}

}  // namespace
}  // namespace fixpool::storage
