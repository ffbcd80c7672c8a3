#include "fixpool/storage/page_latch.h"

#include "gtest/gtest.h"

namespace fixpool::storage {
namespace {

using Answer = PageLatch::Answer;
using Mode = PageLatch::Mode;

// A thread without guards; one with guards of other pages; those with guards of this one.
constexpr PageLatch::Caller kStranger{};
constexpr PageLatch::Caller kHolder{.holds_guards = true};
constexpr PageLatch::Caller kHoldsOne{.guards_of_this_page = 1, .holds_guards = true};
constexpr PageLatch::Caller kHoldsTwo{.guards_of_this_page = 2, .holds_guards = true};

TEST(PageLatchTest, AdmitsManyReaders) {
  PageLatch latch;
  EXPECT_EQ(latch.TryShared(kStranger), Answer::kGranted);
  EXPECT_EQ(latch.TryShared(kStranger), Answer::kGranted);
  EXPECT_EQ(latch.TryShared(kStranger), Answer::kGranted);
  EXPECT_EQ(latch.readers(), 3u);
}

TEST(PageLatchTest, AdmitsOneWriter) {
  PageLatch latch;
  EXPECT_EQ(latch.TryExclusive(kStranger), Answer::kGranted);
  EXPECT_TRUE(latch.held_exclusively());
  EXPECT_EQ(latch.TryExclusive(kStranger), Answer::kWaitForHolder);
  EXPECT_EQ(latch.TryShared(kStranger), Answer::kWaitForHolder);
  EXPECT_FALSE(latch.ReleaseExclusive());
  EXPECT_FALSE(latch.held());
  EXPECT_EQ(latch.TryExclusive(kStranger), Answer::kGranted);
}

TEST(PageLatchTest, WriterBecomesAReaderAndTheOnlyReaderAWriter) {
  PageLatch latch;
  ASSERT_EQ(latch.TryExclusive(kStranger), Answer::kGranted);
  EXPECT_FALSE(latch.Downgrade());
  EXPECT_EQ(latch.readers(), 1u);
  EXPECT_FALSE(latch.held_exclusively());
  EXPECT_TRUE(latch.TryUpgrade());
  EXPECT_TRUE(latch.held_exclusively());
  // Those who waited to read may now.
  latch.BeginWait(Mode::kShared);
  EXPECT_TRUE(latch.Downgrade());
  EXPECT_EQ(latch.TryShared(kStranger), Answer::kGranted);
  EXPECT_FALSE(latch.EndWait(Mode::kShared));
  EXPECT_FALSE(latch.TryUpgrade());
  EXPECT_EQ(latch.readers(), 2u);
  EXPECT_FALSE(latch.ReleaseShared());
  latch.BeginWriteBack();
  EXPECT_FALSE(latch.TryUpgrade());
  latch.EndWriteBack();
  EXPECT_TRUE(latch.TryUpgrade());
}

TEST(PageLatchTest, RefusesWaitsThatOnlyTheCallerCouldEnd) {
  PageLatch written;
  ASSERT_EQ(written.TryExclusive(kStranger), Answer::kGranted);
  EXPECT_EQ(written.TryExclusive(kHoldsOne), Answer::kWouldDeadlock);
  EXPECT_EQ(written.TryShared(kHoldsOne), Answer::kWouldDeadlock);
  EXPECT_EQ(written.TryShared(kHolder), Answer::kWaitForHolder);

  PageLatch read;
  ASSERT_EQ(read.TryShared(kStranger), Answer::kGranted);
  ASSERT_EQ(read.TryShared(kHoldsOne), Answer::kGranted);
  EXPECT_EQ(read.TryExclusive(kHoldsTwo), Answer::kWouldDeadlock);
  EXPECT_EQ(read.TryExclusive(kStranger), Answer::kWaitForHolder);
  ASSERT_EQ(read.TryShared(kStranger), Answer::kGranted);
  // The third will go, and then it is known.
  EXPECT_EQ(read.TryExclusive(kHoldsTwo), Answer::kWaitForHolder);
  read.BeginWait(Mode::kExclusive);
  EXPECT_TRUE(read.ReleaseShared());
  EXPECT_EQ(read.TryExclusive(kHoldsTwo), Answer::kWouldDeadlock);
}

TEST(PageLatchTest, TakesOverThoseWhoCameInByTheWord) {
  PageLatch latch;
  EXPECT_TRUE(latch.calm());
  latch.Adopt(3, false);
  EXPECT_EQ(latch.readers(), 3u);
  EXPECT_EQ(latch.TryExclusive(kStranger), Answer::kWaitForHolder);
  EXPECT_FALSE(latch.ReleaseShared());
  latch.BeginWait(Mode::kExclusive);
  EXPECT_FALSE(latch.calm());
  EXPECT_FALSE(latch.EndWait(Mode::kExclusive));
  EXPECT_TRUE(latch.calm());
  latch.Leave();
  EXPECT_FALSE(latch.held());
  latch.Adopt(0, true);
  EXPECT_TRUE(latch.held_exclusively());
  EXPECT_FALSE(latch.ReleaseExclusive());
  latch.BeginWriteBack();
  EXPECT_FALSE(latch.calm());
}

TEST(PageLatchTest, ReaderQueuesBehindWaitingWriter) {
  PageLatch latch;
  ASSERT_EQ(latch.TryShared(kStranger), Answer::kGranted);
  latch.BeginWait(Mode::kExclusive);
  EXPECT_EQ(latch.TryShared(kStranger), Answer::kWaitForHolder);
  // Unless the writer might be waiting for him.
  EXPECT_EQ(latch.TryShared(kHolder), Answer::kGranted);
}

TEST(PageLatchTest, WriterThatGivesUpLetsReadersIn) {
  PageLatch latch;
  ASSERT_EQ(latch.TryShared(kStranger), Answer::kGranted);
  latch.BeginWait(Mode::kExclusive);
  latch.BeginWait(Mode::kShared);
  EXPECT_TRUE(latch.EndWait(Mode::kExclusive));
  EXPECT_EQ(latch.TryShared(kStranger), Answer::kGranted);
  EXPECT_FALSE(latch.EndWait(Mode::kShared));
}

TEST(PageLatchTest, ReadersThatWaitedComeBeforeTheNextWriter) {
  PageLatch latch;
  ASSERT_EQ(latch.TryExclusive(kStranger), Answer::kGranted);
  latch.BeginWait(Mode::kShared);
  latch.BeginWait(Mode::kExclusive);
  EXPECT_TRUE(latch.ReleaseExclusive());
  EXPECT_EQ(latch.TryExclusive(kStranger), Answer::kWaitForHolder);
  EXPECT_EQ(latch.TryShared(kStranger), Answer::kGranted);
  EXPECT_TRUE(latch.EndWait(Mode::kShared));
  // From now on it is the writer's turn again.
  EXPECT_EQ(latch.TryShared(kStranger), Answer::kWaitForHolder);
  EXPECT_TRUE(latch.ReleaseShared());
  EXPECT_EQ(latch.TryExclusive(kStranger), Answer::kGranted);
}

TEST(PageLatchTest, WriteBackAdmitsReadersOnly) {
  PageLatch latch;
  ASSERT_TRUE(latch.CanBeginWriteBack());
  latch.BeginWriteBack();
  EXPECT_FALSE(latch.CanBeginWriteBack());
  EXPECT_EQ(latch.TryExclusive(kStranger), Answer::kWaitForWriteBack);
  latch.BeginWait(Mode::kExclusive);
  EXPECT_EQ(latch.TryShared(kStranger), Answer::kGranted);
  EXPECT_TRUE(latch.ReleaseShared());
  latch.EndWriteBack();
  EXPECT_EQ(latch.TryExclusive(kStranger), Answer::kGranted);
  EXPECT_FALSE(latch.CanBeginWriteBack());
}

TEST(PageLatchDeathTest, ReleaseOfWhatNobodyHolds) {
  EXPECT_DEATH((void)PageLatch().ReleaseShared(), "nobody held");
  EXPECT_DEATH((void)PageLatch().ReleaseExclusive(), "nobody held");
}

}  // namespace
}  // namespace fixpool::storage
