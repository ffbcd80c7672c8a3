#include "fixpool/storage/s3_fifo_policy.h"

#include <set>
#include <vector>

#include "gtest/gtest.h"
#include "tests/storage/policy_tester.h"

namespace fixpool::storage {
namespace {

using tests::PolicyTester;
using Verdict = PolicyTester::Verdict;
using Frames = std::vector<uint32_t>;

// 40 frames: the small queue has 4, of which the newest 2 do not count hits; ghosts 36. What is in
// the main queue leaves when the small one has fewer than its 4.
class S3FifoPolicyTest : public ::testing::Test {
 protected:
  static constexpr uint32_t kFrames = 40;

  void LoadRange(uint32_t first, uint32_t end, Hint hint = Hint::kNormal) {
    for (uint32_t frame = first; frame < end; ++frame) tester_.Load(frame, hint);
  }

  S3FifoPolicy policy_{kFrames};
  PolicyTester tester_{policy_};
};

TEST_F(S3FifoPolicyTest, HasNothingToOfferAtFirst) {
  EXPECT_EQ(tester_.Evict(), PolicyTester::kNone);
}

TEST_F(S3FifoPolicyTest, EvictsInTheOrderOfLoadingIfNothingIsHit) {
  LoadRange(0, 6);
  EXPECT_EQ(tester_.EvictAll(), Frames({0, 1, 2, 3, 4, 5}));
}

TEST_F(S3FifoPolicyTest, OneHitInTheOlderHalfIsWorthTheMainQueue) {
  LoadRange(0, 6);
  EXPECT_TRUE(tester_.Hit(1));
  EXPECT_EQ(tester_.EvictAll(), Frames({0, 2, 1, 3, 4, 5}));
}

TEST_F(S3FifoPolicyTest, HitsInTheNewestHalfNeitherCountNorStore) {
  LoadRange(0, 6);
  EXPECT_FALSE(tester_.Hit(5));
  EXPECT_FALSE(tester_.Hit(4));
  EXPECT_EQ(tester_.EvictAll(), Frames({0, 1, 2, 3, 4, 5}));
}

TEST_F(S3FifoPolicyTest, PopularPagesAreOnlyRead) {
  LoadRange(0, 6);
  for (int i = 0; i < ReplacementPolicy::kMaxHeat; ++i) EXPECT_TRUE(tester_.Hit(0));
  EXPECT_FALSE(tester_.Hit(0));
}

TEST_F(S3FifoPolicyTest, EvictedPageThatComesBackGoesToTheMainQueue) {
  LoadRange(0, 6);
  EXPECT_EQ(tester_.Evict(), 0u);
  tester_.Load(0);
  EXPECT_EQ(tester_.EvictAll(), Frames({1, 2, 0, 3, 4, 5}));
}

TEST_F(S3FifoPolicyTest, DroppedPageIsNotRemembered) {
  LoadRange(0, 6);
  tester_.Drop(0);
  tester_.Drop(0);  // nothing happens
  tester_.Load(0);
  EXPECT_EQ(tester_.EvictAll(), Frames({1, 2, 3, 4, 5, 0}));
}

TEST_F(S3FifoPolicyTest, HitsInTheMainQueueAreRounds) {
  LoadRange(0, 4, Hint::kKeep);
  for (int round = 0; round < 2; ++round) {
    // All lives are used up, in order.
    EXPECT_EQ(tester_.EvictAll(), Frames({0, 1, 2, 3})) << round;
    // They were in the main queue, and so are not remembered.
    for (uint32_t i = 0; i < 4; ++i) tester_.Load(i, round == 0 ? Hint::kKeep : Hint::kNormal);
  }
}

TEST_F(S3FifoPolicyTest, MainQueueGivesOnlyWhatTheSmallOneHasNot) {
  LoadRange(0, 3);
  EXPECT_EQ(tester_.EvictAll(), Frames({0, 1, 2}));
  LoadRange(0, 3);
  LoadRange(10, 15);
  // The small queue has 5, and keeps 3 of them while the main queue has something.
  tester_.Hit(1);
  EXPECT_EQ(tester_.EvictAll(), Frames({10, 11, 0, 2, 1, 12, 13, 14}));
}

TEST_F(S3FifoPolicyTest, ScannedPagesLeaveFirstAndAreForgotten) {
  LoadRange(0, 6);
  tester_.Load(20, Hint::kScan);
  tester_.Load(21, Hint::kScan);
  EXPECT_FALSE(tester_.Hit(20, Hint::kScan));
  EXPECT_EQ(tester_.Evict(), 20u);
  EXPECT_EQ(tester_.Evict(), 21u);
  tester_.Load(20);
  EXPECT_EQ(tester_.EvictAll(), Frames({0, 1, 2, 3, 4, 5, 20}));
}

TEST_F(S3FifoPolicyTest, ScannedPageThatOthersWantIsAsIfJustLoaded) {
  LoadRange(0, 6);
  tester_.Load(20, Hint::kScan);
  EXPECT_TRUE(tester_.Hit(20));
  EXPECT_EQ(tester_.EvictAll(), Frames({0, 1, 2, 3, 4, 5, 20}));
}

TEST_F(S3FifoPolicyTest, FirstHitOfAPrefetchedPageStandsForItsLoad) {
  for (const uint32_t first_hit_late : {0u, 1u}) {
    tester_.Load(0, Hint::kPrefetch);
    if (first_hit_late == 0) tester_.Hit(0);  // in the newest half
    LoadRange(1, 6);
    if (first_hit_late == 1) tester_.Hit(0);
    EXPECT_EQ(tester_.Evict(), 0u);
    for (uint32_t i = 1; i < 6; ++i) tester_.Drop(i);
    // It is remembered, as if it had been loaded by its first hit; and is not any more.
    LoadRange(10, 16);
    tester_.Load(0);
    EXPECT_EQ(tester_.EvictAll(), Frames({10, 11, 12, 0, 13, 14, 15}));
    // Until nothing of this is remembered.
    for (uint64_t page = 100; page < 200; ++page) {
      tester_.LoadPage(20, page + 100 * first_hit_late);
      EXPECT_EQ(tester_.Evict(), 20u);
    }
  }
}

TEST_F(S3FifoPolicyTest, SecondHitOfAPrefetchedPageCounts) {
  tester_.Load(0, Hint::kPrefetch);
  tester_.Hit(0);
  LoadRange(1, 6);
  tester_.Hit(0);
  EXPECT_EQ(tester_.EvictAll(), Frames({1, 2, 0, 3, 4, 5}));
}

TEST_F(S3FifoPolicyTest, PrefetchedPageThatNobodyCameForIsForgotten) {
  tester_.Load(0, Hint::kPrefetch);
  EXPECT_EQ(tester_.Evict(), 0u);
  LoadRange(10, 16);
  tester_.Load(0);
  EXPECT_EQ(tester_.EvictAll(), Frames({10, 11, 12, 13, 14, 15, 0}));
}

TEST_F(S3FifoPolicyTest, WishToKeepIsHeardInEachQueue) {
  LoadRange(0, 6);
  EXPECT_TRUE(tester_.Hit(0, Hint::kKeep));
  EXPECT_TRUE(tester_.Hit(5, Hint::kKeep));
  EXPECT_FALSE(tester_.Hit(5, Hint::kKeep));
  EXPECT_EQ(tester_.EvictAll(), Frames({1, 2, 3, 0, 4, 5}));
}

TEST_F(S3FifoPolicyTest, PinnedPagesAreSkippedOnce) {
  LoadRange(0, 6);
  EXPECT_EQ(tester_.Evict({0, 1}), 2u);
  EXPECT_EQ(tester_.proposals(), Frames({0, 1, 2}));
  // Out of the way until the others have been looked at.
  EXPECT_EQ(tester_.Evict({0, 1}), 3u);
  EXPECT_EQ(tester_.proposals(), Frames({3}));
}

TEST_F(S3FifoPolicyTest, FindsTheOneThatIsNotPinnedWhereverItIs) {
  for (uint32_t free_one = 0; free_one < kFrames; ++free_one) {
    S3FifoPolicy policy(kFrames);
    PolicyTester tester(policy);
    std::set<uint32_t> pinned;
    for (uint32_t frame = 0; frame < kFrames; ++frame) {
      const Hint hints[] = {Hint::kNormal, Hint::kKeep, Hint::kScan, Hint::kPrefetch};
      tester.Load(frame, hints[frame % 4]);
      for (uint32_t i = 0; i < frame % 3; ++i) tester.Hit(frame);
      if (frame != free_one) pinned.insert(frame);
    }
    EXPECT_EQ(tester.Evict(pinned), free_one);
    EXPECT_LE(tester.proposals().size(), 2 * kFrames);
    EXPECT_EQ(tester.Evict(pinned), PolicyTester::kNone);
    EXPECT_LE(tester.proposals().size(), 2 * kFrames);
    EXPECT_LE(policy.frames_examined(), 2 * 8 * kFrames);
  }
}

TEST_F(S3FifoPolicyTest, StopsWhenTold) {
  LoadRange(0, 6);
  EXPECT_TRUE(tester_.Pick(1, [](uint32_t) { return Verdict::kStop; }).empty());
  EXPECT_EQ(tester_.proposals(), Frames({0}));
  EXPECT_EQ(tester_.Evict(), 0u);
}

TEST_F(S3FifoPolicyTest, PicksSeveralAtOnce) {
  LoadRange(0, 6);
  EXPECT_EQ(tester_.Pick(4,
                         [](uint32_t frame) {
                           return frame == 1   ? Verdict::kSkip
                                  : frame == 4 ? Verdict::kStop
                                               : Verdict::kTake;
                         }),
            Frames({0, 2, 3}));
}

TEST_F(S3FifoPolicyTest, WrittenPagesComeBackBeforeOthers) {
  LoadRange(0, 6);
  EXPECT_EQ(
      tester_.Pick(1, [](uint32_t frame) { return frame < 2 ? Verdict::kDefer : Verdict::kTake; }),
      Frames({2}));
  tester_.Written(1);
  tester_.Written(5);  // by a flush: nobody waits for its frame
  EXPECT_EQ(tester_.Evict(), 1u);
  EXPECT_EQ(tester_.EvictAll(), Frames({3, 0, 4, 5}));
}

TEST_F(S3FifoPolicyTest, WrittenPageThatWasHitMeanwhileStays) {
  LoadRange(0, 6);
  (void)tester_.Pick(1,
                     [](uint32_t frame) { return frame == 0 ? Verdict::kDefer : Verdict::kStop; });
  tester_.Hit(0);
  tester_.Written(0);
  EXPECT_EQ(tester_.EvictAll(), Frames({1, 2, 0, 3, 4, 5}));
}

TEST_F(S3FifoPolicyTest, FailedWriteIsNotRemembered) {
  LoadRange(0, 6);
  (void)tester_.Pick(1,
                     [](uint32_t frame) { return frame == 0 ? Verdict::kDefer : Verdict::kStop; });
  tester_.WriteFailed(0);
  tester_.Written(0);  // by a flush, later
  EXPECT_EQ(tester_.Evict(), 1u);
}

TEST_F(S3FifoPolicyTest, PageThatLeftWhileItWasWrittenIsNotProposed) {
  LoadRange(0, 2);
  (void)tester_.Pick(1, [](uint32_t) { return Verdict::kDefer; });
  tester_.Drop(0);
  tester_.Written(0);
  EXPECT_EQ(tester_.EvictAll(), Frames({1}));
}

TEST(S3FifoPolicyResizeTest, TakesMoreFramesAndGivesThemBack) {
  S3FifoPolicy policy(10, 100);
  PolicyTester tester(policy);
  EXPECT_EQ(policy.frame_count(), 10u);
  for (uint32_t frame = 0; frame < 10; ++frame) tester.Load(frame);
  policy.SetFrameCount(100);
  for (uint32_t frame = 10; frame < 100; ++frame) tester.Load(frame);
  // The newest 5 do not count.
  EXPECT_FALSE(tester.Hit(95));
  EXPECT_TRUE(tester.Hit(94));
  for (uint32_t frame = 50; frame < 100; ++frame) tester.Drop(frame);
  for (uint32_t frame = 0; frame < 40; ++frame) EXPECT_EQ(tester.Evict(), frame);
  policy.SetFrameCount(10);
  EXPECT_EQ(tester.EvictAll(), Frames({40, 41, 42, 43, 44, 45, 46, 47, 48, 49}));
}

TEST(S3FifoPolicyResizeTest, FramesThatWereGivenBackAreAsNew) {
  S3FifoPolicy policy(10, 100'000);
  PolicyTester tester(policy);
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(policy.MakeRoom(100'000).ok());
    policy.SetFrameCount(100'000);
    for (uint32_t frame = 0; frame < 100'000; ++frame) tester.Load(frame, Hint::kKeep);
    for (uint32_t frame = 10; frame < 100'000; ++frame) tester.Drop(frame);
    policy.SetFrameCount(10);
    policy.DiscardFrom(10);
    EXPECT_EQ(tester.EvictAll(), Frames({0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  }
}

TEST(S3FifoPolicyResizeTest, MakesRoomForMoreFrames) {
  S3FifoPolicy policy(10, 10, 100'000);
  EXPECT_EQ(policy.max_frames(), 10u);
  ASSERT_TRUE(policy.MakeRoom(100'000).ok());
  EXPECT_EQ(policy.max_frames(), 100'000u);
  policy.SetFrameCount(100'000);
  PolicyTester tester(policy);
  for (uint32_t frame = 0; frame < 100'000; ++frame) tester.Load(frame);
  for (uint32_t frame = 0; frame < 100'000; ++frame) ASSERT_EQ(tester.Evict(), frame);
}

TEST(S3FifoPolicyResizeTest, OneFrameIsEnough) {
  S3FifoPolicy policy(1);
  PolicyTester tester(policy);
  for (uint64_t page = 0; page < 10; ++page) {
    tester.LoadPage(0, page % 3);
    tester.Hit(0);
    EXPECT_EQ(tester.Evict(), 0u);
  }
}

TEST(S3FifoPolicyMemoryTest, IsAtMostSixteenBytesAFrame) {
  const S3FifoPolicy policy(100'000);
  EXPECT_LE(policy.metadata_bytes(), 16u * 100'000);
}

TEST(S3FifoPolicyDeathTest, RefusesFrameCountsOutOfRange) {
  S3FifoPolicy policy(10, 20);
  EXPECT_DEATH(policy.SetFrameCount(21), "21 of 20 frames");
  EXPECT_DEATH(policy.SetFrameCount(0), "0 of 20 frames");
  EXPECT_DEATH((void)policy.MakeRoom(19), "fewer frames than it was made for");
}

}  // namespace
}  // namespace fixpool::storage
