#include "fixpool/io/uring_ring.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/io/error.h"
#include "gtest/gtest.h"

// One ring by itself, on the real kernel: its queues, and who may enter it how. What an engine
// makes of it is in uring_engine_test.cc.

namespace fixpool::io {
namespace {

// Places for registered descriptors that a thread has (IO_RINGFD_REG_MAX).
constexpr int kPlaces = 16;

struct Kind {
  const char* name;
  RingExtras extras;
};

absl::StatusOr<std::unique_ptr<UringRing>> Make(const RingExtras& extras) {
  return UringRing::Create({.entries = 4, .extras = extras});
}

// A request that does nothing. False: there is no room for it.
bool PrepareNop(UringRing& ring, uint64_t user_data) {
  io_uring_sqe* const sqe = ring.NextSqe();
  if (sqe == nullptr) return false;
  io_uring_prep_nop(sqe);
  sqe->user_data = user_data;
  return true;
}

std::multiset<uint64_t> TakeCompletions(UringRing& ring, size_t at_least) {
  std::multiset<uint64_t> taken;
  while (taken.size() < at_least) {
    io_uring_cqe* cqe = nullptr;
    if (ring.PeekCqes(&cqe, 1) == 1) {
      taken.insert(cqe->user_data);
      ring.AdvanceCq(1);
    } else {
      ring.WaitForCompletions(1, -1);
    }
  }
  return taken;
}

class UringRingTest : public ::testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<UringRing>> ring = Make(GetParam().extras);
    if (!ring.ok()) GTEST_SKIP() << ring.status();
    ring_ = *std::move(ring);
  }

  std::unique_ptr<UringRing> ring_;
};

INSTANTIATE_TEST_SUITE_P(Kinds, UringRingTest,
                         ::testing::Values(Kind{"plain", {}},
                                           Kind{"sqpoll", {.sqpoll = true, .sqpoll_idle_ms = 1}},
                                           Kind{"registered", {.registered_ring = true}}),
                         [](const auto& info) { return std::string(info.param.name); });

void WaitUntilPollingThreadSleeps(const UringRing& ring) {
  while (!ring.PollingThreadSleeps()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

std::multiset<uint64_t> Numbers(uint64_t count) {
  std::multiset<uint64_t> numbers;
  for (uint64_t i = 0; i < count; ++i) numbers.insert(i);
  return numbers;
}

TEST_P(UringRingTest, FullQueueHasRoomAgainOnceTheKernelTookIt) {
  uint64_t prepared = 0;
  while (PrepareNop(*ring_, prepared)) ++prepared;
  EXPECT_GE(prepared, 4u);
  EXPECT_FALSE(ring_->HasRoom());
  EXPECT_EQ(ring_->unsubmitted(), prepared);
  EXPECT_EQ(ring_->Submit(), static_cast<int>(prepared));
  EXPECT_EQ(ring_->unsubmitted(), 0u);
  ring_->WaitForRoom();
  EXPECT_TRUE(ring_->HasRoom());
  EXPECT_EQ(TakeCompletions(*ring_, prepared), Numbers(prepared));
}

// Many times as many as the completion queue has places for, and nobody takes one meanwhile.
TEST_P(UringRingTest, CompletionsThatTheQueueHasNoRoomForAreNotLost) {
  constexpr uint64_t kRequests = 500;
  for (uint64_t i = 0; i < kRequests; ++i) {
    ring_->WaitForRoom();
    ASSERT_TRUE(PrepareNop(*ring_, i));
    ASSERT_EQ(ring_->Submit(), 1);
  }
  EXPECT_EQ(TakeCompletions(*ring_, kRequests), Numbers(kRequests));
}

// Whoever has the descriptor closed under us: what the kernel did not take, it cannot do.
TEST_P(UringRingTest, WhatCouldNotBeSubmittedIsTakenBackNewestFirst) {
  for (uint64_t i = 0; i < 3; ++i) ASSERT_TRUE(PrepareNop(*ring_, i));
  // Not woken, the kernel's thread finds nothing; awake, it would not need to be told.
  if (GetParam().extras.sqpoll) WaitUntilPollingThreadSleeps(*ring_);
  const int keep = fcntl(ring_->descriptor(), F_DUPFD_CLOEXEC, 0);
  const int other = open("/dev/null", O_RDWR | O_CLOEXEC);
  ASSERT_EQ(dup3(other, ring_->descriptor(), O_CLOEXEC), ring_->descriptor());
  close(other);
  const int submitted = ring_->Submit();
  if (GetParam().extras.registered_ring) {
    EXPECT_EQ(submitted, 3);  // the index still names the ring
  } else {
    ASSERT_EQ(submitted, -EOPNOTSUPP);
    EXPECT_EQ(ring_->unsubmitted(), 3u);
    for (uint64_t i = 3; i-- > 0;) EXPECT_EQ(ring_->TakeBackNewest(), i);
    EXPECT_EQ(ring_->unsubmitted(), 0u);
  }
  ASSERT_EQ(dup3(keep, ring_->descriptor(), O_CLOEXEC), ring_->descriptor());
  close(keep);
  if (GetParam().extras.registered_ring) return;
  ASSERT_TRUE(PrepareNop(*ring_, 7));
  EXPECT_EQ(ring_->Submit(), 1);
  EXPECT_EQ(TakeCompletions(*ring_, 1), std::multiset<uint64_t>{7});
}

TEST_P(UringRingTest, AnyThreadSubmitsAndAnyThreadWaits) {
  for (uint64_t i = 0; i < 8; ++i) {
    std::thread submitter([&] {
      ASSERT_TRUE(PrepareNop(*ring_, i));
      EXPECT_EQ(ring_->Submit(), 1);
    });
    submitter.join();
    std::thread waiter([&] { EXPECT_EQ(TakeCompletions(*ring_, 1).count(i), 1u); });
    waiter.join();
  }
}

// ---- The kernel's thread ----

TEST(SqpollRingTest, SleepingThreadIsWokenByTheNextRequest) {
  const auto ring = Make({.sqpoll = true, .sqpoll_idle_ms = 1});
  if (!ring.ok()) GTEST_SKIP() << ring.status();
  for (uint64_t i = 0; i < 20; ++i) {
    WaitUntilPollingThreadSleeps(**ring);
    ASSERT_TRUE(PrepareNop(**ring, i));
    EXPECT_EQ((*ring)->Submit(), 1);
    EXPECT_EQ(TakeCompletions(**ring, 1).count(i), 1u);
  }
}

TEST(SqpollRingTest, ThreadThatIsAwakeTakesRequestsWithoutASystemCall) {
  const auto ring = Make({.sqpoll = true, .sqpoll_idle_ms = 10'000});
  if (!ring.ok()) GTEST_SKIP() << ring.status();
  // It may go to sleep before its first request, whatever its idle time.
  ASSERT_TRUE(PrepareNop(**ring, 0));
  EXPECT_EQ((*ring)->Submit(), 1);
  EXPECT_EQ(TakeCompletions(**ring, 1).count(0), 1u);
  const uint64_t enters_before = (*ring)->enters();
  for (uint64_t i = 0; i < 100; ++i) {
    while (!(*ring)->HasRoom()) std::this_thread::yield();
    ASSERT_TRUE(PrepareNop(**ring, i));
    EXPECT_EQ((*ring)->Submit(), 1);
    io_uring_cqe* cqe = nullptr;
    while ((*ring)->PeekCqes(&cqe, 1) == 0) std::this_thread::yield();
    (*ring)->AdvanceCq(1);
  }
  EXPECT_EQ((*ring)->enters(), enters_before);
}

// ---- Registered descriptors ----

class RegisteredRingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto ring = MakeRegistered(); !ring.ok()) GTEST_SKIP() << ring.status();
  }
  static absl::StatusOr<std::unique_ptr<UringRing>> MakeRegistered() {
    return Make({.registered_ring = true});
  }
};

TEST_F(RegisteredRingTest, ThreadHasSixteenPlacesAndADestroyedRingGivesItsBack) {
  std::vector<std::unique_ptr<UringRing>> rings;
  for (int i = 0; i < kPlaces; ++i) {
    auto ring = MakeRegistered();
    ASSERT_TRUE(ring.ok()) << i << ": " << ring.status();
    rings.push_back(*std::move(ring));
  }
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(ErrnoOf(MakeRegistered().status()), EBUSY);
    std::thread([] { EXPECT_TRUE(MakeRegistered().ok()); }).join();  // it has places of its own
    rings.erase(rings.begin() + 5 * round);
    auto ring = MakeRegistered();
    ASSERT_TRUE(ring.ok()) << ring.status();
    rings.push_back(*std::move(ring));
  }
}

// The index that one thread has for one ring is another thread's index of another ring.
TEST_F(RegisteredRingTest, SameIndexOnTwoThreadsDoesNotMixUpTheirRings) {
  std::unique_ptr<UringRing> mine = *MakeRegistered();
  std::atomic<int> step{0};
  std::unique_ptr<UringRing> theirs;
  std::thread other([&] {
    theirs = *MakeRegistered();
    // On this thread the index of `mine` is that of `theirs`.
    ASSERT_TRUE(PrepareNop(*mine, 1));
    EXPECT_EQ(mine->Submit(), 1);
    EXPECT_EQ(TakeCompletions(*mine, 1).count(1), 1u);
    io_uring_cqe* cqe = nullptr;
    EXPECT_EQ(theirs->PeekCqes(&cqe, 1), 0u);
    step.store(1);
    while (step.load() != 2) std::this_thread::yield();
    theirs.reset();
  });
  while (step.load() != 1) std::this_thread::yield();
  for (UringRing* ring : {mine.get(), theirs.get()}) {
    UringRing* const idle = ring == mine.get() ? theirs.get() : mine.get();
    ASSERT_TRUE(PrepareNop(*ring, 2));
    EXPECT_EQ(ring->Submit(), 1);
    EXPECT_EQ(TakeCompletions(*ring, 1).count(2), 1u);
    io_uring_cqe* cqe = nullptr;
    EXPECT_EQ(idle->PeekCqes(&cqe, 1), 0u);
  }
  step.store(2);
  other.join();
}

// A thread that comes to be where the one that opened the ring was before is not taken for it.
TEST_F(RegisteredRingTest, LaterThreadIsNotTakenForTheOneThatOpenedTheRing) {
  std::unique_ptr<UringRing> ring;
  std::thread([&] { ring = *MakeRegistered(); }).join();
  // A thread that is joined is still known to the kernel for a moment.
  while (ring->HeldByAnotherThread()) std::this_thread::yield();
  for (uint64_t i = 0; i < 4; ++i) {
    std::thread([&] {
      std::unique_ptr<UringRing> decoy = *MakeRegistered();
      ASSERT_TRUE(PrepareNop(*ring, i));
      EXPECT_EQ(ring->Submit(), 1);
      EXPECT_EQ(TakeCompletions(*ring, 1).count(i), 1u);
    }).join();
  }
}

TEST_F(RegisteredRingTest, IsHeldByTheThreadThatOpenedItWhileThatLives) {
  std::unique_ptr<UringRing> ring = *MakeRegistered();
  EXPECT_FALSE(ring->HeldByAnotherThread());
  std::thread([&] { EXPECT_TRUE(ring->HeldByAnotherThread()); }).join();
}

}  // namespace
}  // namespace fixpool::io
