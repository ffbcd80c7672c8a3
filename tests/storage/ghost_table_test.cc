#include "fixpool/storage/ghost_table.h"

#include "gtest/gtest.h"

namespace fixpool::storage {
namespace {

PageId Page(uint64_t number) { return {FileId(3, 7), number}; }

TEST(GhostTableTest, RemembersAPageOnce) {
  GhostTable ghosts({.capacity = 10, .max_capacity = 10});
  EXPECT_FALSE(ghosts.Take(Page(1)));
  ghosts.Add(Page(1));
  EXPECT_FALSE(ghosts.Take({FileId(3, 8), 1}));
  EXPECT_TRUE(ghosts.Take(Page(1)));
  EXPECT_FALSE(ghosts.Take(Page(1)));
}

// Large enough for the time to be counted in units of more than one page.
TEST(GhostTableTest, RemembersTheLastOnes) {
  for (const uint32_t capacity : {9u, 1000u, 100'000u}) {
    GhostTable ghosts({.capacity = capacity, .max_capacity = capacity});
    const uint64_t count = uint64_t{capacity} * 6;
    for (uint64_t page = 0; page < count; ++page) ghosts.Add(Page(page));
    uint64_t late = 0, early = 0;
    for (uint64_t page = 0; page < count; ++page) {
      (page < count - capacity ? early : late) += ghosts.Take(Page(page)) ? 1 : 0;
    }
    EXPECT_GE(late, capacity * 93 / 100) << capacity;
    EXPECT_LE(early, capacity / 100 + 1) << capacity;
  }
}

TEST(GhostTableTest, CapacityChanges) {
  GhostTable ghosts({.capacity = 4, .max_capacity = 100'000});
  for (uint64_t page = 0; page < 8; ++page) ghosts.Add(Page(page));
  EXPECT_FALSE(ghosts.Take(Page(3)));
  EXPECT_TRUE(ghosts.Take(Page(4)));
  ghosts.SetCapacity(5);  // as many sets as before
  EXPECT_TRUE(ghosts.Take(Page(5)));
  for (const uint32_t capacity : {100u, 100'000u, 100u}) {
    ghosts.SetCapacity(capacity);
    EXPECT_FALSE(ghosts.Take(Page(6)));  // forgotten
    EXPECT_FALSE(ghosts.Take(Page(9)));
    for (uint64_t page = 0; page < 100; ++page) ghosts.Add(Page(page));
    for (uint64_t page = 70; page < 100; ++page) EXPECT_TRUE(ghosts.Take(Page(page))) << page;
    ghosts.Add(Page(6));
    ghosts.Add(Page(9));
  }
}

TEST(GhostTableTest, TakesLittleMemory) { EXPECT_LE(GhostTable::BytesFor(100'000), 455'000u); }

}  // namespace
}  // namespace fixpool::storage
