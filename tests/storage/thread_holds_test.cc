#include "fixpool/storage/thread_holds.h"

#include <set>
#include <thread>

#include "gtest/gtest.h"

namespace fixpool::storage {
namespace {

TEST(ThreadHoldsTest, EachThreadHasATokenOfItsOwn) {
  std::set<uint64_t> tokens = {0, ThreadHolds::Token()};
  EXPECT_EQ(ThreadHolds::Token(), *tokens.rbegin());
  for (int i = 0; i < 20; ++i) {
    uint64_t token = 0;
    std::thread([&token] { token = ThreadHolds::Token(); }).join();
    EXPECT_TRUE(tokens.insert(token).second);
  }
}

TEST(ThreadHoldsTest, CountsTheGuardsThatThisThreadTook) {
  EXPECT_FALSE(ThreadHolds::Any());
  ThreadHolds::Took();
  ThreadHolds::Took();
  ThreadHolds::Dropped(ThreadHolds::Token());
  EXPECT_TRUE(ThreadHolds::Any());
  ThreadHolds::Dropped(ThreadHolds::Token());
  EXPECT_FALSE(ThreadHolds::Any());
}

TEST(ThreadHoldsTest, GuardDroppedElsewhereStaysWithItsThread) {
  ThreadHolds::Took();
  std::thread([token = ThreadHolds::Token()] {
    ThreadHolds::Dropped(token);
    EXPECT_FALSE(ThreadHolds::Any());
    ThreadHolds::Took();
    EXPECT_TRUE(ThreadHolds::Any());
  }).join();
  EXPECT_TRUE(ThreadHolds::Any());
  ThreadHolds::Dropped(ThreadHolds::Token());
}

}  // namespace
}  // namespace fixpool::storage
