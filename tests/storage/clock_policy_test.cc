#include "fixpool/storage/clock_policy.h"

#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace fixpool::storage {
namespace {

using Verdict = ReplacementPolicy::Verdict;

class ClockPolicyTest : public ::testing::Test {
 protected:
  static constexpr uint32_t kFrames = 4;

  void Load(uint32_t frame, Hint hint = Hint::kNormal) {
    policy_.OnLoaded(FrameIndex{frame}, {FileId(0, 1), frame}, hint);
  }
  // The next victim if all proposals are welcome.
  FrameIndex Evict() {
    const FrameIndex victim = policy_.PickVictim([](FrameIndex) { return Verdict::kTake; });
    if (victim != kNoFrame) policy_.OnEvicted(victim);
    return victim;
  }

  ClockPolicy policy_{kFrames};
};

TEST_F(ClockPolicyTest, HasNothingToOfferAtFirst) { EXPECT_EQ(Evict(), kNoFrame); }

TEST_F(ClockPolicyTest, EvictsInTheOrderOfLoadingIfNothingIsHit) {
  for (uint32_t i = 0; i < kFrames; ++i) Load(i);
  for (uint32_t i = 0; i < kFrames; ++i) EXPECT_EQ(Evict(), FrameIndex{i});
  EXPECT_EQ(Evict(), kNoFrame);
}

TEST_F(ClockPolicyTest, SparesWhatWasHitForOneRound) {
  for (uint32_t i = 0; i < kFrames; ++i) Load(i, Hint::kScan);
  policy_.OnHit(FrameIndex{0}, Hint::kNormal);
  EXPECT_EQ(Evict(), FrameIndex{1});
  EXPECT_EQ(Evict(), FrameIndex{2});
  EXPECT_EQ(Evict(), FrameIndex{3});
  EXPECT_EQ(Evict(), FrameIndex{0});
}

TEST_F(ClockPolicyTest, HintsDecideWhoGoesFirst) {
  Load(0, Hint::kKeep);
  Load(1, Hint::kNormal);
  Load(2, Hint::kScan);
  Load(3, Hint::kPrefetch);
  EXPECT_EQ(Evict(), FrameIndex{2});
  EXPECT_EQ(Evict(), FrameIndex{1});
  EXPECT_EQ(Evict(), FrameIndex{3});
  EXPECT_EQ(Evict(), FrameIndex{0});
}

TEST_F(ClockPolicyTest, HitOfAScanGivesNoChance) {
  for (uint32_t i = 0; i < kFrames; ++i) Load(i, Hint::kScan);
  policy_.OnHit(FrameIndex{0}, Hint::kScan);
  EXPECT_EQ(Evict(), FrameIndex{0});
}

TEST_F(ClockPolicyTest, ProposesEverybodyAndEnds) {
  for (uint32_t i = 0; i < kFrames; ++i) Load(i, Hint::kKeep);
  std::set<FrameIndex> proposed;
  EXPECT_EQ(policy_.PickVictim([&](FrameIndex frame) {
    proposed.insert(frame);
    return Verdict::kSkip;
  }),
            kNoFrame);
  EXPECT_EQ(proposed.size(), kFrames);
}

TEST_F(ClockPolicyTest, StopsWhenTold) {
  for (uint32_t i = 0; i < kFrames; ++i) Load(i, Hint::kScan);
  int proposals = 0;
  EXPECT_EQ(policy_.PickVictim([&](FrameIndex) {
    ++proposals;
    return Verdict::kStop;
  }),
            kNoFrame);
  EXPECT_EQ(proposals, 1);
}

TEST_F(ClockPolicyTest, WrittenPagesComeBackBeforeOthers) {
  for (uint32_t i = 0; i < kFrames; ++i) Load(i, Hint::kScan);
  // 0 and 1 are dirty, 2 is taken.
  const FrameIndex victim = policy_.PickVictim(
      [](FrameIndex frame) { return ToInt(frame) < 2 ? Verdict::kDefer : Verdict::kTake; });
  EXPECT_EQ(victim, FrameIndex{2});
  policy_.OnEvicted(victim);
  policy_.OnWritten(FrameIndex{1});
  policy_.OnWritten(FrameIndex{0});
  EXPECT_EQ(Evict(), FrameIndex{1});
  EXPECT_EQ(Evict(), FrameIndex{0});
  EXPECT_EQ(Evict(), FrameIndex{3});
}

TEST_F(ClockPolicyTest, WrittenPageThatWasHitMeanwhileStays) {
  for (uint32_t i = 0; i < 2; ++i) Load(i, Hint::kScan);
  EXPECT_EQ(policy_.PickVictim([](FrameIndex frame) {
    return frame == FrameIndex{0} ? Verdict::kDefer : Verdict::kStop;
  }),
            kNoFrame);
  policy_.OnHit(FrameIndex{0}, Hint::kNormal);
  policy_.OnWritten(FrameIndex{0});
  EXPECT_EQ(Evict(), FrameIndex{1});
}

TEST_F(ClockPolicyTest, PageThatLeftIsNotProposed) {
  Load(0, Hint::kScan);
  Load(1, Hint::kScan);
  (void)policy_.PickVictim([](FrameIndex) { return Verdict::kDefer; });
  policy_.OnWritten(FrameIndex{0});
  policy_.OnEvicted(FrameIndex{0});  // its file was closed
  EXPECT_EQ(Evict(), FrameIndex{1});
  EXPECT_EQ(Evict(), kNoFrame);
}

TEST_F(ClockPolicyTest, FailedWriteIsNotRemembered) {
  Load(0, Hint::kScan);
  Load(1, Hint::kScan);
  EXPECT_EQ(policy_.PickVictim([](FrameIndex frame) {
    return frame == FrameIndex{0} ? Verdict::kDefer : Verdict::kStop;
  }),
            kNoFrame);
  policy_.OnWriteFailed(FrameIndex{0});
  policy_.OnWritten(FrameIndex{0});  // by a flush, later
  EXPECT_EQ(Evict(), FrameIndex{0});
}

}  // namespace
}  // namespace fixpool::storage
