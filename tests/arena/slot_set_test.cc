#include "fixpool/arena/slot_set.h"

#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace fixpool::arena {
namespace {

TEST(SlotSetTest, IsEmptyAtFirst) {
  EXPECT_EQ(SlotSet(1).First(), std::nullopt);
  EXPECT_EQ(SlotSet(1 << 14).First(), std::nullopt);
}

TEST(SlotSetTest, GivesTheLowestNumber) {
  SlotSet set(1 << 14);
  for (const uint32_t slot : {16383u, 200u, 64u, 63u, 0u}) {
    set.Insert(slot);
    EXPECT_EQ(set.First(), slot);
  }
  set.Insert(63);  // again
  for (const uint32_t slot : {0u, 63u, 64u, 200u, 16383u}) {
    EXPECT_EQ(set.First(), slot);
    set.Remove(slot);
    set.Remove(slot);
  }
  EXPECT_EQ(set.First(), std::nullopt);
}

TEST(SlotSetTest, ThreadsDoNotDisturbEachOthersNumbers) {
  SlotSet set(64);
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < 4; ++t) {
    threads.emplace_back([&set, t] {
      for (int i = 0; i < 10000; ++i) {
        set.Insert(t);
        set.Remove(t);
      }
      if (t == 2) set.Insert(t);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(set.First(), 2u);
}

}  // namespace
}  // namespace fixpool::arena
