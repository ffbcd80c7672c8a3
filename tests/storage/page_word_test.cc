#include "fixpool/storage/page_word.h"

#include "gtest/gtest.h"

namespace fixpool::storage {
namespace {

constexpr FrameIndex kFrame{PageWord::kMaxFrames - 1};
constexpr PageWord kCalm = PageWord::Make(kFrame, 0, false, false, 7);

TEST(PageWordTest, ZeroIsAPageThatWasNeverInMemory) {
  EXPECT_FALSE(PageWord().present());
  EXPECT_FALSE(PageWord().readable());
  EXPECT_FALSE(PageWord().CanAddReader());
  EXPECT_FALSE(PageWord().CanClose());
  EXPECT_EQ(PageWord(), PageWord::Absent(0));
}

TEST(PageWordTest, KeepsItsParts) {
  const PageWord word = PageWord::Make(kFrame, 200, true, true, (1u << 28) - 1);
  EXPECT_EQ(word.frame(), kFrame);
  EXPECT_EQ(word.readers(), 200u);
  EXPECT_TRUE(word.closed());
  EXPECT_TRUE(word.guarded());
  EXPECT_EQ(word.version(), (1u << 28) - 1);
  EXPECT_EQ(PageWord::Make(FrameIndex{0}, 0, false, false, 0).frame(), FrameIndex{0});
  EXPECT_TRUE(PageWord::Make(FrameIndex{0}, 0, false, false, 0).present());
}

TEST(PageWordTest, ReadersComeAndGo) {
  PageWord word = kCalm;
  for (uint32_t i = 0; i < PageWord::kMaxReaders; ++i) {
    ASSERT_TRUE(word.CanAddReader());
    word = word.PlusReader();
    ASSERT_FALSE(word.CanClose());
  }
  EXPECT_FALSE(word.CanAddReader());
  EXPECT_TRUE(word.SameLife(kCalm));
  for (uint32_t i = 0; i < PageWord::kMaxReaders; ++i) word = word.MinusReader();
  EXPECT_EQ(word, kCalm);
}

TEST(PageWordTest, WriterIsAloneAndMovesTheVersionOn) {
  const PageWord written = kCalm.Closed();
  EXPECT_FALSE(written.CanAddReader());
  EXPECT_FALSE(written.CanClose());
  EXPECT_FALSE(written.readable());
  EXPECT_FALSE(written.SameLife(kCalm));
  EXPECT_EQ(written.Opened(), PageWord::Make(kFrame, 0, false, false, 8));
  EXPECT_FALSE(written.Opened().SameLife(kCalm));
}

TEST(PageWordTest, VersionGoesAroundWithoutTouchingTheRest) {
  const PageWord last = PageWord::Make(kFrame, 0, true, false, (1u << 28) - 1);
  EXPECT_EQ(last.Opened(), PageWord::Make(kFrame, 0, false, false, 0));
  EXPECT_EQ(PageWord::Absent(1u << 28), PageWord::Absent(0));
}

TEST(PageWordTest, GuardedLetsNobodyInButOptimisticReaders) {
  const PageWord guarded = kCalm.PlusReader().Guarded();
  EXPECT_EQ(guarded.readers(), 0u);
  EXPECT_FALSE(guarded.CanAddReader());
  EXPECT_FALSE(guarded.CanClose());
  EXPECT_FALSE(guarded.held());
  EXPECT_TRUE(guarded.readable());
  EXPECT_TRUE(guarded.SameLife(kCalm));
}

TEST(VersionEpochTest, VouchesForLessThanHalfATurn) {
  VersionEpoch epoch;
  const uint64_t since = epoch.Now();
  for (uint32_t version = 1; version < 1000; ++version) epoch.Published(version);
  EXPECT_TRUE(epoch.Vouches(since));
  epoch.Published(1u << 27);  // and after another half the version that was seen may be back
  EXPECT_FALSE(epoch.Vouches(since));
  EXPECT_TRUE(epoch.Vouches(epoch.Now()));
}

TEST(VersionEpochTest, RestartEndsEveryTrust) {
  VersionEpoch epoch;
  const uint64_t since = epoch.Now();
  epoch.Restart();
  EXPECT_FALSE(epoch.Vouches(since));
  EXPECT_FALSE(epoch.Vouches(since + 3));  // never was
}

}  // namespace
}  // namespace fixpool::storage
