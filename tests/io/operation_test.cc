#include "fixpool/io/operation.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "fixpool/io/error.h"
#include "fixpool/io/file.h"
#include "gtest/gtest.h"
#include "tests/support/scratch.h"

// How the kernel's answers are booked, answer by answer; that the engines ask again for what
// is missing is in io_engine_test.cc.

namespace fixpool::io {
namespace {

class AdvanceTest : public ::testing::Test {
 protected:
  Operation Make(IoOperation operation, uint32_t length_bytes) {
    Operation made;
    made.request.operation = operation;
    made.request.data = buffer_;
    made.request.length_bytes = length_bytes;
    made.request.offset_bytes = 8192;
    return made;
  }

  tests::ScratchDirectory scratch_;
  std::shared_ptr<File> buffered_ =
      *File::Open(scratch_.MakeFile("buffered", "x"), {.direct = File::DirectIo::kNever});
  std::shared_ptr<File> direct_ = *File::Open(scratch_.MakeFile("direct", "x"));
  EngineCounters counters_;
  std::byte buffer_[8192];
};

TEST_F(AdvanceTest, AllOfItIsFinished) {
  for (const IoOperation kind : {IoOperation::kRead, IoOperation::kWrite}) {
    Operation operation = Make(kind, 4096);
    EXPECT_EQ(Advance(operation, *buffered_, 4096, counters_), Progress::kFinished);
    EXPECT_EQ(operation.transferred_bytes, 4096u);
    EXPECT_EQ(operation.error_number, 0);
  }
  EXPECT_EQ(counters_.resumed, 0u);
}

TEST_F(AdvanceTest, ShortTransferGoesOnWhereItStopped) {
  for (const IoOperation kind : {IoOperation::kRead, IoOperation::kWrite}) {
    Operation operation = Make(kind, 4096);
    EXPECT_EQ(Advance(operation, *buffered_, 1000, counters_), Progress::kAgain);
    EXPECT_EQ(operation.remaining_bytes(), 3096u);
    EXPECT_EQ(operation.remaining_data(), buffer_ + 1000);
    EXPECT_EQ(operation.remaining_offset(), 9192u);
    EXPECT_EQ(Advance(operation, *buffered_, 3096, counters_), Progress::kFinished);
    EXPECT_EQ(operation.transferred_bytes, 4096u);
  }
  EXPECT_EQ(counters_.resumed, 2u);
}

TEST_F(AdvanceTest, EmptyReadIsTheEndOfTheFile) {
  Operation operation = Make(IoOperation::kRead, 4096);
  EXPECT_EQ(Advance(operation, *buffered_, 1000, counters_), Progress::kAgain);
  EXPECT_EQ(Advance(operation, *buffered_, 0, counters_), Progress::kFinished);
  EXPECT_EQ(operation.transferred_bytes, 1000u);
  EXPECT_EQ(operation.error_number, 0);
}

// The rest could not be asked for: its offset is off the alignment.
TEST_F(AdvanceTest, DirectReadThatEndsOffTheAlignmentIsTheEndOfTheFile) {
  if (!direct_->direct() || direct_->alignment().offset_bytes < 512) {
    GTEST_SKIP() << "no direct I/O in " << scratch_.path();
  }
  Operation operation = Make(IoOperation::kRead, 8192);
  EXPECT_EQ(Advance(operation, *direct_, 4096, counters_), Progress::kAgain);
  EXPECT_EQ(Advance(operation, *direct_, 1000, counters_), Progress::kFinished);
  EXPECT_EQ(operation.transferred_bytes, 5096u);
}

// As a bad sector ends it, or a file system across a network. Of the bytes, those up to the last
// place that a direct read can be asked for count.
TEST_F(AdvanceTest, DirectReadThatEndsOffTheAlignmentInsideTheFileGoesOn) {
  const std::shared_ptr<File> file =
      *File::Open(scratch_.MakeFile("large", std::string(32768, 'x')));
  const uint32_t alignment = file->alignment().offset_bytes;
  if (!file->direct() || alignment < 512) GTEST_SKIP() << "no direct I/O in " << scratch_.path();
  Operation operation = Make(IoOperation::kRead, 8192);
  EXPECT_EQ(Advance(operation, *file, static_cast<int>(alignment) + 100, counters_),
            Progress::kAgain);
  EXPECT_EQ(operation.transferred_bytes, alignment);
  EXPECT_EQ(Advance(operation, *file, 100, counters_), Progress::kAgain);
  EXPECT_EQ(operation.transferred_bytes, alignment);
  EXPECT_EQ(Advance(operation, *file, static_cast<int>(8192 - alignment), counters_),
            Progress::kFinished);
  EXPECT_EQ(operation.transferred_bytes, 8192u);
  EXPECT_EQ(operation.error_number, 0);
}

TEST_F(AdvanceTest, ReadThatGetsNothingInsideTheFileIsAnErrorInTheEnd) {
  const std::shared_ptr<File> file = *File::Open(
      scratch_.MakeFile("large", std::string(32768, 'x')), {.direct = File::DirectIo::kNever});
  Operation operation = Make(IoOperation::kRead, 4096);
  int tries = 0;
  while (Advance(operation, *file, 0, counters_) == Progress::kAgain) {
    ASSERT_LT(++tries, 1'000'000);
  }
  EXPECT_EQ(operation.error_number, EIO);
  EXPECT_EQ(counters_.failed, 1u);
}

TEST_F(AdvanceTest, WriteThatMakesNoProgressIsAnError) {
  Operation operation = Make(IoOperation::kWrite, 4096);
  EXPECT_EQ(Advance(operation, *buffered_, 0, counters_), Progress::kFinished);
  EXPECT_EQ(operation.error_number, EIO);
  EXPECT_EQ(counters_.failed, 1u);
}

TEST_F(AdvanceTest, EintrAndEagainAreTriedAgainWithABound) {
  for (const int error_number : {EINTR, EAGAIN}) {
    Operation operation = Make(IoOperation::kRead, 4096);
    int tries = 0;
    while (Advance(operation, *buffered_, -error_number, counters_) == Progress::kAgain) {
      ASSERT_LT(++tries, 1'000'000);
    }
    EXPECT_EQ(operation.error_number, error_number);
    EXPECT_GE(tries, 100);
  }
  EXPECT_EQ(counters_.failed, 2u);
}

TEST_F(AdvanceTest, ProgressResetsTheBound) {
  Operation operation = Make(IoOperation::kRead, 4096);
  for (int byte = 0; byte < 100; ++byte) {
    for (int tries = 0; tries < 100; ++tries) {
      ASSERT_EQ(Advance(operation, *buffered_, -EAGAIN, counters_), Progress::kAgain);
    }
    ASSERT_EQ(Advance(operation, *buffered_, 1, counters_), Progress::kAgain);
  }
  EXPECT_EQ(counters_.retried, 10'000u);
}

TEST_F(AdvanceTest, OtherErrorsAreFinal) {
  for (const int error_number : {EIO, ENOSPC, EFAULT, EINVAL, ECANCELED, EOPNOTSUPP}) {
    Operation operation = Make(IoOperation::kWrite, 4096);
    EXPECT_EQ(Advance(operation, *buffered_, -error_number, counters_), Progress::kFinished);
    EXPECT_EQ(operation.error_number, error_number);
  }
  EXPECT_EQ(counters_.failed, 6u);
  EXPECT_EQ(counters_.retried, 0u);
}

TEST_F(AdvanceTest, SyncIsFinishedWhateverItsNumber) {
  Operation operation = Make(IoOperation::kSync, 0);
  EXPECT_EQ(Advance(operation, *buffered_, 0, counters_), Progress::kFinished);
  EXPECT_EQ(operation.error_number, 0);
}

TEST(OperationPoolTest, GivesEachIndexOnceUntilItIsReturned) {
  OperationPool pool(5);
  EXPECT_EQ(pool.size(), 5u);
  std::set<uint32_t> taken;
  for (int i = 0; i < 5; ++i) taken.insert(pool.Take({}));
  EXPECT_EQ(taken, (std::set<uint32_t>{0, 1, 2, 3, 4}));
  EXPECT_EQ(pool.taken(), 5u);
  EXPECT_EQ(pool.Take({}), OperationPool::kNone);
  EXPECT_EQ(pool.taken(), 5u);
  pool.Return(3);
  EXPECT_EQ(pool.taken(), 4u);
  EXPECT_EQ(pool.Take({}), 3u);
}

TEST(OperationListTest, IsFirstInFirstOut) {
  OperationPool pool(4);
  OperationList list;
  EXPECT_TRUE(list.empty());
  for (int round = 0; round < 3; ++round) {
    for (const uint32_t index : {2u, 0u, 3u}) list.PushBack(pool, index);
    EXPECT_EQ(list.PopFront(pool), 2u);
    list.PushBack(pool, 1);
    EXPECT_EQ(list.PopFront(pool), 0u);
    EXPECT_EQ(list.PopFront(pool), 3u);
    EXPECT_EQ(list.PopFront(pool), 1u);
    EXPECT_TRUE(list.empty());
  }
}

}  // namespace
}  // namespace fixpool::io
