#include "fixpool/arena/magazine.h"

#include <atomic>
#include <cstdint>
#include <set>
#include <thread>
#include <vector>

#include "fixpool/io/mutex.h"
#include "fixpool/io/process_barrier.h"
#include "gtest/gtest.h"

namespace fixpool::arena {
namespace {

FreePage Page(uint32_t index) { return {.slot = 3, .page_index = index}; }

TEST(MagazineShapeTest, HoldsLessOfWhatIsLarger) {
  const MagazineShape shape(4096);
  EXPECT_EQ(shape.CapacityOf(0), 64u);
  EXPECT_EQ(shape.CapacityOf(1), 32u);
  EXPECT_EQ(shape.CapacityOf(6), 1u);
  EXPECT_EQ(shape.CapacityOf(7), 0u);
  EXPECT_EQ(shape.CapacityOf(8), 0u);
  EXPECT_LE(shape.begin.back(), MagazineShape::kSlots);
  EXPECT_EQ(MagazineShape(size_t{1} << 20).CapacityOf(0), 0u);
}

TEST(MagazineTest, GivesBackThePageThatCameLast) {
  const MagazineShape shape(4096);
  Magazine magazine;
  magazine.Open(Magazine::Barrier::kThief);
  EXPECT_EQ(magazine.Pop(shape, 0), std::nullopt);
  for (uint32_t i = 0; i < 64; ++i) ASSERT_TRUE(magazine.Push(shape, 0, Page(i)));
  EXPECT_FALSE(magazine.Push(shape, 0, Page(64)));
  EXPECT_FALSE(magazine.Push(shape, 7, Page(128)));
  ASSERT_TRUE(magazine.Push(shape, 2, Page(100)));
  EXPECT_EQ(magazine.CountPages(), 68u);
  EXPECT_EQ(magazine.pushes(), 65u);
  for (uint32_t i = 64; i-- > 0;) ASSERT_EQ(magazine.Pop(shape, 0), Page(i));
  EXPECT_EQ(magazine.Pop(shape, 0), std::nullopt);
  EXPECT_EQ(magazine.Pop(shape, 2), Page(100));
}

TEST(MagazineTest, RefusesWhileItIsClosed) {
  const MagazineShape shape(4096);
  for (const auto barrier : {Magazine::Barrier::kThief, Magazine::Barrier::kOwner}) {
    Magazine magazine;
    EXPECT_TRUE(magazine.closed());
    EXPECT_FALSE(magazine.Push(shape, 0, Page(1)));
    magazine.Open(barrier);
    EXPECT_EQ(magazine.barrier(), barrier);
    EXPECT_TRUE(magazine.Push(shape, 0, Page(1)));
    magazine.Close();
    EXPECT_EQ(magazine.barrier(), barrier);
    EXPECT_FALSE(magazine.Push(shape, 0, Page(2)));
    EXPECT_EQ(magazine.Pop(shape, 0), std::nullopt);
    magazine.Open(barrier);
    EXPECT_EQ(magazine.Pop(shape, 0), Page(1));
  }
}

TEST(MagazineTest, GivesAllToAThief) {
  const MagazineShape shape(4096);
  Magazine magazine;
  magazine.Open(Magazine::Barrier::kThief);
  for (uint32_t i = 0; i < 8; ++i) ASSERT_TRUE(magazine.Push(shape, i % 2, Page(i)));
  magazine.Close();
  magazine.WaitForOwner();
  std::set<uint32_t> taken;
  const size_t count = magazine.TakeAll(shape, [&](FreePage page, int order) {
    EXPECT_EQ(order, static_cast<int>(page.page_index % 2));
    taken.insert(page.page_index);
  });
  EXPECT_EQ(count, 8u);
  EXPECT_EQ(taken.size(), 8u);
  EXPECT_EQ(magazine.CountPages(), 0u);
}

// An owner that pushes and pops, and opens again what a thief closed and emptied.
void ThiefAndOwner(Magazine::Barrier barrier) {
  const MagazineShape shape(4096);
  Magazine magazine;
  io::Mutex lock;
  constexpr uint32_t kPages = 100'000;
  std::vector<std::atomic<int>> seen(kPages);
  std::atomic<bool> stop{false};
  std::atomic<bool> failed{false};
  std::thread thief([&] {
    while (!stop.load()) {
      {
        io::MutexLock held(lock);
        magazine.Close();
        if (barrier == Magazine::Barrier::kThief && !io::ProcessBarrier::Run()) failed = true;
        magazine.WaitForOwner();
        magazine.TakeAll(shape, [&](FreePage page, int) { seen[page.page_index].fetch_add(1); });
      }
      std::this_thread::yield();
    }
  });
  for (uint32_t next = 0; next < kPages;) {
    if (magazine.closed()) {
      io::MutexLock held(lock);
      magazine.Open(barrier);
    }
    for (int i = 0; i < 5 && next < kPages; ++i) {
      if (magazine.Push(shape, 0, Page(next))) ++next;
    }
    for (int i = 0; i < 4; ++i) {
      if (const auto page = magazine.Pop(shape, 0)) seen[page->page_index].fetch_add(1);
    }
  }
  stop.store(true);
  thief.join();
  while (const auto page = magazine.PopLocked(shape, 0)) seen[page->page_index].fetch_add(1);
  EXPECT_FALSE(failed.load());
  for (uint32_t i = 0; i < kPages; ++i) ASSERT_EQ(seen[i].load(), 1) << i;
}

TEST(MagazineTest, AStolenPageIsNobodyElses) {
  if (!io::ProcessBarrier::Register()) GTEST_SKIP() << "there is no membarrier(2) here";
  ThiefAndOwner(Magazine::Barrier::kThief);
}

TEST(MagazineTest, AStolenPageIsNobodyElsesWithTheOwnersBarrier) {
  ThiefAndOwner(Magazine::Barrier::kOwner);
}

}  // namespace
}  // namespace fixpool::arena
