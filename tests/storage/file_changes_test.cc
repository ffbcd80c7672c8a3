#include "fixpool/storage/file_changes.h"

#include <cstdint>

#include "gtest/gtest.h"

namespace fixpool::storage {
namespace {

TEST(FileChangesTest, TurnsComeInTheOrderOfEntering) {
  FileChanges changes;
  EXPECT_FALSE(changes.any());
  const uint64_t first = changes.Enter(), second = changes.Enter(), third = changes.Enter();
  EXPECT_TRUE(changes.any());
  EXPECT_TRUE(changes.HasTurn(first));
  EXPECT_FALSE(changes.HasTurn(second));
  changes.Leave(second);  // gave up
  EXPECT_TRUE(changes.HasTurn(first));
  changes.Leave(first);
  EXPECT_TRUE(changes.HasTurn(third));
  const uint64_t fourth = changes.Enter();
  EXPECT_FALSE(changes.HasTurn(fourth));
  changes.Leave(third);
  EXPECT_TRUE(changes.HasTurn(fourth));
  changes.Leave(fourth);
  EXPECT_FALSE(changes.any());
}

TEST(FileChangesTest, RangeIsClosedFromFirstToBeforeItsEnd) {
  FileChanges changes;
  const uint64_t ticket = changes.Enter();
  EXPECT_FALSE(changes.IsClosed(0));
  EXPECT_EQ(changes.NextClosed(0), PageRange::kNoEnd);
  changes.Close({.first = 10, .end = 20});
  EXPECT_FALSE(changes.IsClosed(9));
  EXPECT_TRUE(changes.IsClosed(10));
  EXPECT_TRUE(changes.IsClosed(19));
  EXPECT_FALSE(changes.IsClosed(20));
  EXPECT_EQ(changes.NextClosed(0), 10u);
  EXPECT_EQ(changes.NextClosed(10), 10u);
  EXPECT_EQ(changes.NextClosed(15), 15u);
  EXPECT_EQ(changes.NextClosed(20), PageRange::kNoEnd);
  changes.Close({.first = 5, .end = PageRange::kNoEnd});
  EXPECT_TRUE(changes.IsClosed(uint64_t{1} << 50));
  changes.Open();
  EXPECT_FALSE(changes.IsClosed(10));
  changes.Leave(ticket);
}

TEST(FileChangesDeathTest, WhoLeavesHasOpened) {
  FileChanges changes;
  const uint64_t ticket = changes.Enter();
  changes.Close({.first = 1, .end = 2});
  EXPECT_DEATH(changes.Leave(ticket), "left pages closed");
}

}  // namespace
}  // namespace fixpool::storage
