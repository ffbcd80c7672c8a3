#include "fixpool/storage/page_latch.h"

#include "gtest/gtest.h"

namespace fixpool::storage {
namespace {

using Answer = PageLatch::Answer;
using Mode = PageLatch::Mode;

constexpr PageLatch::Caller kAnna{.token = 0x1111};
constexpr PageLatch::Caller kBert{.token = 0x2222};
constexpr PageLatch::Caller kBertWithGuards{.token = 0x2222, .holds_guards = true};

TEST(PageLatchTest, AdmitsManyReaders) {
  PageLatch latch;
  EXPECT_EQ(latch.TryShared(kAnna), Answer::kGranted);
  EXPECT_EQ(latch.TryShared(kBert), Answer::kGranted);
  EXPECT_EQ(latch.TryShared(kAnna), Answer::kGranted);
  EXPECT_EQ(latch.readers(), 3u);
}

TEST(PageLatchTest, AdmitsOneWriter) {
  PageLatch latch;
  EXPECT_EQ(latch.TryExclusive(kAnna), Answer::kGranted);
  EXPECT_TRUE(latch.held_exclusively_by(kAnna.token));
  EXPECT_EQ(latch.TryExclusive(kBert), Answer::kWaitForHolder);
  EXPECT_EQ(latch.TryShared(kBert), Answer::kWaitForHolder);
  EXPECT_FALSE(latch.ReleaseExclusive());
  EXPECT_FALSE(latch.held());
  EXPECT_EQ(latch.TryExclusive(kBert), Answer::kGranted);
}

TEST(PageLatchTest, RefusesWaitsThatOnlyTheCallerCouldEnd) {
  PageLatch written;
  ASSERT_EQ(written.TryExclusive(kAnna), Answer::kGranted);
  EXPECT_EQ(written.TryExclusive(kAnna), Answer::kWouldDeadlock);
  EXPECT_EQ(written.TryShared(kAnna), Answer::kWouldDeadlock);

  PageLatch read;
  ASSERT_EQ(read.TryShared(kAnna), Answer::kGranted);
  ASSERT_EQ(read.TryShared(kAnna), Answer::kGranted);
  EXPECT_EQ(read.TryExclusive(kAnna), Answer::kWouldDeadlock);
  EXPECT_EQ(read.TryExclusive(kBert), Answer::kWaitForHolder);
  ASSERT_EQ(read.TryShared(kBert), Answer::kGranted);
  // Bert will go, and then it is known.
  EXPECT_EQ(read.TryExclusive(kAnna), Answer::kWaitForHolder);
  read.BeginWait(Mode::kExclusive);
  EXPECT_TRUE(read.ReleaseShared(kBert.token));
  EXPECT_EQ(read.TryExclusive(kAnna), Answer::kWouldDeadlock);
}

TEST(PageLatchTest, ReaderQueuesBehindWaitingWriter) {
  PageLatch latch;
  ASSERT_EQ(latch.TryShared(kAnna), Answer::kGranted);
  latch.BeginWait(Mode::kExclusive);
  EXPECT_EQ(latch.TryShared(kBert), Answer::kWaitForHolder);
  // Unless the writer might be waiting for him.
  EXPECT_EQ(latch.TryShared(kBertWithGuards), Answer::kGranted);
}

TEST(PageLatchTest, WriterThatGivesUpLetsReadersIn) {
  PageLatch latch;
  ASSERT_EQ(latch.TryShared(kAnna), Answer::kGranted);
  latch.BeginWait(Mode::kExclusive);
  latch.BeginWait(Mode::kShared);
  EXPECT_TRUE(latch.EndWait(Mode::kExclusive));
  EXPECT_EQ(latch.TryShared(kBert), Answer::kGranted);
  EXPECT_FALSE(latch.EndWait(Mode::kShared));
}

TEST(PageLatchTest, ReadersThatWaitedComeBeforeTheNextWriter) {
  PageLatch latch;
  ASSERT_EQ(latch.TryExclusive(kAnna), Answer::kGranted);
  latch.BeginWait(Mode::kShared);
  latch.BeginWait(Mode::kExclusive);
  EXPECT_TRUE(latch.ReleaseExclusive());
  EXPECT_EQ(latch.TryExclusive(kAnna), Answer::kWaitForHolder);
  EXPECT_EQ(latch.TryShared(kBert), Answer::kGranted);
  EXPECT_TRUE(latch.EndWait(Mode::kShared));
  // From now on it is the writer's turn again.
  EXPECT_EQ(latch.TryShared(kAnna), Answer::kWaitForHolder);
  EXPECT_TRUE(latch.ReleaseShared(kBert.token));
  EXPECT_EQ(latch.TryExclusive(kAnna), Answer::kGranted);
}

TEST(PageLatchTest, WriteBackAdmitsReadersOnly) {
  PageLatch latch;
  ASSERT_TRUE(latch.CanBeginWriteBack());
  latch.BeginWriteBack();
  EXPECT_FALSE(latch.CanBeginWriteBack());
  EXPECT_EQ(latch.TryExclusive(kAnna), Answer::kWaitForWriteBack);
  latch.BeginWait(Mode::kExclusive);
  EXPECT_EQ(latch.TryShared(kBert), Answer::kGranted);
  EXPECT_TRUE(latch.ReleaseShared(kBert.token));
  latch.EndWriteBack();
  EXPECT_EQ(latch.TryExclusive(kAnna), Answer::kGranted);
  EXPECT_FALSE(latch.CanBeginWriteBack());
}

TEST(PageLatchDeathTest, ReleaseOfWhatNobodyHolds) {
  EXPECT_DEATH((void)PageLatch().ReleaseShared(1), "nobody held");
  EXPECT_DEATH((void)PageLatch().ReleaseExclusive(), "nobody held");
}

}  // namespace
}  // namespace fixpool::storage
