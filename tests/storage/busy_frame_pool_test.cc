#include "fixpool/storage/busy_frame_pool.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "tests/support/seed.h"

namespace fixpool::storage {
namespace {

constexpr size_t kSlotBytes = 64;

TEST(BusyFramePoolTest, LastOnePutIsTakenNext) {
  BusyFramePool pool = *BusyFramePool::Create(1000);
  for (int i = 0; i < 1000; ++i) {
    const uint32_t first = pool.Take();
    const uint32_t second = pool.Take();
    pool.Put(first);
    EXPECT_EQ(pool.Take(), first);
    pool.Put(second);
    pool.Put(first);
  }
  EXPECT_EQ(pool.in_use(), 0u);
  EXPECT_EQ(pool.touched_bytes(), 2 * kSlotBytes);
}

TEST(BusyFramePoolTest, EachIsNewWhenItIsTaken) {
  BusyFramePool pool = *BusyFramePool::Create(1);
  const uint32_t number = pool.Take();
  AtomicPageWord word{0};
  BusyFrame& busy = pool[number];
  busy.latch.Adopt(3, false);
  busy.latch.BeginWriteBack();
  busy.word = &word;
  busy.error = absl::DataLossError("as long a text as a string does not keep within itself");
  busy.write_number = 7;
  busy.attached = busy.captures = 1;
  busy.captured = busy.wanted = busy.read_failed = busy.write_failed = true;
  pool.Put(number);
  ASSERT_EQ(pool.Take(), number);
  EXPECT_FALSE(busy.pinned());
  EXPECT_TRUE(busy.latch.calm());
  EXPECT_EQ(busy.word, nullptr);
  EXPECT_TRUE(busy.error.ok());
  EXPECT_EQ(busy.write_number, 0u);
  EXPECT_EQ(busy.captures, 0u);
  EXPECT_FALSE(busy.captured || busy.wanted || busy.read_failed || busy.write_failed);
}

TEST(BusyFramePoolTest, AsManyAsItWasMadeForAndEachOnce) {
  std::mt19937_64 random(tests::Seed());
  constexpr uint32_t kCapacity = 300;
  BusyFramePool pool = *BusyFramePool::Create(kCapacity);
  std::vector<uint32_t> taken;
  std::set<uint32_t> all;
  for (int round = 0; round < 10; ++round) {
    while (taken.size() < kCapacity) {
      const uint32_t number = pool.Take();
      ASSERT_TRUE(all.insert(number).second);
      ASSERT_TRUE(number >= 1 && number <= kCapacity);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(&pool[number]) % kSlotBytes, 0u);
      pool[number].attached = number;
      taken.push_back(number);
    }
    std::shuffle(taken.begin(), taken.end(), random);
    const size_t kept = random() % kCapacity;
    for (; taken.size() > kept; taken.pop_back()) {
      EXPECT_EQ(pool[taken.back()].attached, taken.back());
      pool.Put(taken.back());
      all.erase(taken.back());
    }
    EXPECT_EQ(pool.in_use(), kept);
  }
  EXPECT_EQ(pool.touched_bytes(), kCapacity * kSlotBytes);
}

TEST(BusyFramePoolTest, MovesWithWhatIsInIt) {
  BusyFramePool pool = *BusyFramePool::Create(2);
  const uint32_t number = pool.Take();
  pool[number].error = absl::DataLossError("moved");
  BusyFramePool moved = std::move(pool);
  EXPECT_EQ(moved[number].error.message(), "moved");
  EXPECT_NE(moved.Take(), number);
}

TEST(BusyFramePoolDeathTest, MoreThanFrames) {
  BusyFramePool pool = *BusyFramePool::Create(2);
  pool.Take();
  pool.Take();
  EXPECT_DEATH(pool.Take(), "more busy frames than frames");
}

TEST(BusyFramePoolTest, MakesRoomInPlace) {
  BusyFramePool pool = *BusyFramePool::Create(1, 1000);
  const uint32_t first = pool.Take();
  BusyFrame* const where = &pool[first];
  where->attached = 7;
  ASSERT_TRUE(pool.MakeRoom(1000).ok());
  for (int i = 1; i < 1000; ++i) (void)pool.Take();
  EXPECT_EQ(&pool[first], where);
  EXPECT_EQ(where->attached, 7u);
  EXPECT_EQ(pool.in_use(), 1000u);
}

}  // namespace
}  // namespace fixpool::storage
