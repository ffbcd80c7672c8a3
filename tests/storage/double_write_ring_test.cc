#include "fixpool/storage/double_write_ring.h"

#include <cstdint>
#include <optional>
#include <vector>

#include "gtest/gtest.h"

namespace fixpool::storage {
namespace {

using Place = DoubleWriteRing::Place;

std::vector<PageNumber> Pages(PageNumber first, uint32_t count) {
  std::vector<PageNumber> pages;
  for (uint32_t i = 0; i < count; ++i) pages.push_back(first + i);
  return pages;
}

class DoubleWriteRingTest : public ::testing::Test {
 protected:
  // A batch whose copies are on disk, and whose pages are being written, by one write.
  Place Cover(PageNumber first, uint32_t count) {
    const auto pages = Pages(first, count);
    const std::optional<Place> place = ring_.Reserve(pages);
    EXPECT_TRUE(place.has_value());
    ring_.Cover(place->slot, pages, 1);
    return *place;
  }
  void SyncFile(bool ok = true) {
    ring_.BeginSync();
    ring_.EndSync(ok);
  }

  DoubleWriteRing ring_{{.capacity_pages = 10, .may_grow = true, .next_sequence = 5}};
};

TEST_F(DoubleWriteRingTest, BatchesFollowEachOther) {
  const Place first = Cover(0, 4);
  EXPECT_EQ(first.position_pages, 0u);
  EXPECT_EQ(first.sequence, 5u);
  const Place second = Cover(10, 4);
  EXPECT_EQ(second.position_pages, 5u);
  EXPECT_EQ(second.sequence, 6u);
  EXPECT_FALSE(ring_.Reserve(Pages(20, 1)).has_value());
  EXPECT_TRUE(ring_.awaits_writes());
  EXPECT_FALSE(ring_.FreedBySync());
}

TEST_F(DoubleWriteRingTest, PlaceIsFreeWhenItsWritesHaveEndedAndThenASync) {
  const Place first = Cover(0, 4);
  Cover(10, 4);
  SyncFile();  // it covers nothing
  EXPECT_FALSE(ring_.Reserve(Pages(20, 4)).has_value());
  ring_.BeginSync();
  ring_.EndWrite(first.slot, 0, 4, true);  // too late for the sync
  ring_.EndSync(true);
  EXPECT_FALSE(ring_.Reserve(Pages(20, 4)).has_value());
  EXPECT_TRUE(ring_.FreedBySync());
  SyncFile(/*ok=*/false);
  EXPECT_FALSE(ring_.Reserve(Pages(20, 4)).has_value());
  SyncFile();
  const auto place = ring_.Reserve(Pages(20, 4));
  ASSERT_TRUE(place.has_value());
  EXPECT_EQ(place->position_pages, 0u);
}

TEST_F(DoubleWriteRingTest, BatchOfSeveralWritesEndsWithTheLast) {
  const auto pages = Pages(0, 9);
  const auto place = ring_.Reserve(pages);
  ring_.Cover(place->slot, pages, 2);
  ring_.EndWrite(place->slot, 0, 5, true);
  SyncFile();
  EXPECT_FALSE(ring_.empty());
  ring_.EndWrite(place->slot, 5, 4, true);
  EXPECT_FALSE(ring_.empty());
  SyncFile();
  EXPECT_TRUE(ring_.empty());
}

TEST_F(DoubleWriteRingTest, AbandonedPlaceIsFreeAtOnce) {
  const auto place = ring_.Reserve(Pages(0, 9));
  ASSERT_TRUE(place.has_value());
  ring_.Abandon(place->slot);
  EXPECT_TRUE(ring_.empty());
  const auto next = ring_.Reserve(Pages(0, 9));
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ(next->position_pages, 0u);
  EXPECT_GT(next->sequence, place->sequence);
}

TEST_F(DoubleWriteRingTest, CopyOfAPageWhoseWriteFailedIsKeptUntilThereIsANewerOne) {
  const Place first = Cover(0, 4);
  ring_.EndWrite(first.slot, 0, 4, /*ok=*/false);
  SyncFile();
  EXPECT_FALSE(ring_.empty());
  const auto some = Pages(1, 2);
  const auto place = ring_.Reserve(some);
  ASSERT_TRUE(place.has_value());
  EXPECT_EQ(place->position_pages, 5u);
  ring_.Cover(place->slot, some, 1);
  ring_.EndWrite(place->slot, 1, 2, true);
  SyncFile();
  EXPECT_FALSE(ring_.empty()) << "pages 0 and 3 were not tried again";
  const Place rest = Cover(0, 1);
  ring_.EndWrite(rest.slot, 0, 1, true);
  const Place last = Cover(3, 1);
  ring_.EndWrite(last.slot, 3, 1, true);
  SyncFile();
  EXPECT_TRUE(ring_.empty());
}

TEST_F(DoubleWriteRingTest, OthersGoAroundACopyThatIsKept) {
  const Place first = Cover(0, 1);
  const Place kept = Cover(10, 3);
  ring_.EndWrite(first.slot, 0, 1, true);
  ring_.EndWrite(kept.slot, 10, 3, false);
  SyncFile();
  EXPECT_EQ(Cover(20, 3).position_pages, 6u);
  EXPECT_EQ(Cover(30, 1).position_pages, 0u);
}

TEST_F(DoubleWriteRingTest, BehindAllOfThemWhereNothingElseIsToBeAwaited) {
  for (PageNumber page = 0; page < 2; ++page) {
    const Place place = Cover(10 * page, 4);
    ring_.EndWrite(place.slot, 10 * page, 4, false);
  }
  EXPECT_FALSE(ring_.Reserve(Pages(30, 4)).has_value());
  EXPECT_TRUE(ring_.FreedBySync());
  SyncFile();
  EXPECT_EQ(Cover(30, 4).position_pages, 10u);
  DoubleWriteRing fixed({.capacity_pages = 5, .may_grow = false, .next_sequence = 1});
  const auto pages = Pages(0, 4);
  const auto place = fixed.Reserve(pages);
  fixed.Cover(place->slot, pages, 1);
  fixed.EndWrite(place->slot, 0, 4, false);
  fixed.BeginSync();
  fixed.EndSync(true);
  EXPECT_FALSE(fixed.Reserve(pages).has_value());
  EXPECT_FALSE(fixed.FreedBySync() || fixed.awaits_writes());
}

TEST_F(DoubleWriteRingTest, LastSlotIsForPagesThatFailedBefore) {
  DoubleWriteRing ring({.capacity_pages = 1000, .may_grow = true, .next_sequence = 1});
  for (uint32_t i = 0; i + 1 < DoubleWriteRing::kMostBatches; ++i) {
    const auto pages = Pages(i, 1);
    const auto place = ring.Reserve(pages);
    ASSERT_TRUE(place.has_value()) << i;
    ring.Cover(place->slot, pages, 1);
    ring.EndWrite(place->slot, i, 1, /*ok=*/false);
    ring.BeginSync();
    ring.EndSync(true);
  }
  EXPECT_FALSE(ring.Reserve(Pages(500, 1)).has_value());
  const auto again = Pages(7, 1);
  const auto place = ring.Reserve(again);
  ASSERT_TRUE(place.has_value());
  ring.Cover(place->slot, again, 1);
  ring.EndWrite(place->slot, 7, 1, true);
  ring.BeginSync();
  ring.EndSync(true);
  EXPECT_TRUE(ring.Reserve(Pages(500, 1)).has_value());
}

TEST_F(DoubleWriteRingTest, TellsWhichOthersAreNeeded) {
  const Place first = Cover(0, 1);
  const Place second = Cover(1, 1);
  const Place third = Cover(2, 1);
  ring_.EndWrite(second.slot, 1, 1, true);
  SyncFile();
  std::vector<uint64_t> needed;
  ring_.NeededBeside(third.slot, needed);
  EXPECT_EQ(needed, std::vector<uint64_t>{first.sequence});
}

}  // namespace
}  // namespace fixpool::storage
