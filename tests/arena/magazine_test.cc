#include "fixpool/arena/magazine.h"

#include <atomic>
#include <cstdint>
#include <set>
#include <thread>
#include <vector>

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
  EXPECT_EQ(magazine.Pop(shape, 0), std::nullopt);
  for (uint32_t i = 0; i < 64; ++i) ASSERT_TRUE(magazine.Push(shape, 0, Page(i)));
  EXPECT_FALSE(magazine.Push(shape, 0, Page(64)));
  EXPECT_FALSE(magazine.Push(shape, 7, Page(128)));
  ASSERT_TRUE(magazine.Push(shape, 2, Page(100)));
  EXPECT_EQ(magazine.CountPages(shape), 68u);
  EXPECT_EQ(magazine.pushes(), 65u);
  for (uint32_t i = 64; i-- > 0;) ASSERT_EQ(magazine.Pop(shape, 0), Page(i));
  EXPECT_EQ(magazine.Pop(shape, 0), std::nullopt);
  EXPECT_EQ(magazine.Pop(shape, 2), Page(100));
}

TEST(MagazineTest, StealsWhatIsWanted) {
  const MagazineShape shape(4096);
  Magazine magazine;
  for (uint32_t i = 0; i < 8; ++i) ASSERT_TRUE(magazine.Push(shape, 0, Page(i)));
  std::set<uint32_t> stolen;
  const size_t count = magazine.Steal(
      shape, [](FreePage page) { return page.page_index % 2 == 0; },
      [&](FreePage page, int order) {
        EXPECT_EQ(order, 0);
        stolen.insert(page.page_index);
      });
  EXPECT_EQ(count, 4u);
  EXPECT_EQ(stolen, (std::set<uint32_t>{0, 2, 4, 6}));
  // The owner does not notice but by what is missing.
  for (const uint32_t left : {7u, 5u, 3u, 1u}) EXPECT_EQ(magazine.Pop(shape, 0), Page(left));
  EXPECT_EQ(magazine.Pop(shape, 0), std::nullopt);
}

TEST(MagazineTest, AStolenPageIsNobodyElses) {
  const MagazineShape shape(4096);
  Magazine magazine;
  constexpr uint32_t kPages = 100'000;
  std::vector<std::atomic<int>> seen(kPages);
  std::atomic<bool> stop{false};
  std::thread thief([&] {
    while (!stop.load()) {
      magazine.Steal(
          shape, [](FreePage) { return true; },
          [&](FreePage page, int) { seen[page.page_index].fetch_add(1); });
    }
  });
  for (uint32_t next = 0; next < kPages;) {
    for (int i = 0; i < 5 && next < kPages; ++i) {
      if (magazine.Push(shape, 0, Page(next))) ++next;
    }
    for (int i = 0; i < 2; ++i) {
      if (const auto page = magazine.Pop(shape, 0)) seen[page->page_index].fetch_add(1);
    }
  }
  stop.store(true);
  thief.join();
  while (const auto page = magazine.Pop(shape, 0)) seen[page->page_index].fetch_add(1);
  for (uint32_t i = 0; i < kPages; ++i) ASSERT_EQ(seen[i].load(), 1) << i;
}

}  // namespace
}  // namespace fixpool::arena
