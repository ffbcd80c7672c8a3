#include "fixpool/storage/scan_detector.h"

#include <algorithm>
#include <cstdint>
#include <random>
#include <set>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/seed.h"

namespace fixpool::storage {
namespace {

using Access = ScanDetector::Access;

constexpr ScanDetector::Bounds kBounds{.largest_window = 1024, .page_count = 1'000'000};
constexpr uint32_t kFirst = ScanDetector::kFirstWindow;

class ScanDetectorTest : public ::testing::Test {
 protected:
  ScanDetector::Note Miss(PageNumber page) {
    return detector_.OnAccess(page, Access::kMissing, bounds_);
  }
  // Until there is a scan that wants [from + 4, ...).
  ScanDetector::Note Start(PageNumber from) {
    for (PageNumber page = from; page < from + 3; ++page) {
      EXPECT_EQ(Miss(page).scan, ScanDetector::kNone);
    }
    const ScanDetector::Note note = Miss(from + 3);
    EXPECT_TRUE(note.afresh);
    EXPECT_TRUE(note.ahead.has_value());
    if (note.ahead.has_value()) {
      EXPECT_EQ(note.ahead->first, from + 4);
    }
    return note;
  }

  ScanDetector detector_;
  ScanDetector::Bounds bounds_ = kBounds;
};

TEST_F(ScanDetectorTest, FourthPageInARowBeginsAScan) {
  const ScanDetector::Note note = Start(100);
  EXPECT_EQ(note.ahead->end, 104 + kFirst);
  EXPECT_EQ(detector_.PositionOf(note.scan), 104u);
}

TEST_F(ScanDetectorTest, WindowDoublesUpToTheBoundAndIsExtendedInLargeSteps) {
  PageNumber end = Start(0).ahead->end;
  uint32_t largest = 0;
  for (PageNumber page = 4; page < 20'000; ++page) {
    const auto note = detector_.OnAccess(page, Access::kInFlight, bounds_);
    ASSERT_NE(note.scan, ScanDetector::kNone);
    ASSERT_GT(end, page) << "the scan would wait";
    if (!note.ahead.has_value()) continue;
    EXPECT_EQ(note.ahead->first, end);
    const PageNumber before = end;
    end = note.ahead->end;
    largest = std::max(largest, static_cast<uint32_t>(end - page - 1));
    if (page > 5'000) {
      EXPECT_GE(end - before, ScanDetector::kLargestStep);
    }
  }
  EXPECT_EQ(largest, 1024u);
}

TEST_F(ScanDetectorTest, NothingIsNamedTwiceNorBeyondTheEndOfTheFile) {
  bounds_.page_count = 700;
  std::set<PageNumber> named;
  for (PageNumber page = 0; page < 700; ++page) {
    const Access access = named.contains(page) ? Access::kResident : Access::kMissing;
    const auto note = detector_.OnAccess(page, access, bounds_);
    if (!note.ahead.has_value()) continue;
    for (PageNumber one = note.ahead->first; one < note.ahead->end; ++one) {
      EXPECT_TRUE(named.insert(one).second) << one;
    }
  }
  EXPECT_EQ(named.size(), 696u);
  EXPECT_EQ(*named.rbegin(), 699u);
}

TEST_F(ScanDetectorTest, AccessAtRandomIsNoScan) {
  std::mt19937_64 random(tests::Seed());
  for (int i = 0; i < 200'000; ++i) {
    const auto note = Miss(random() % 1'000'000);
    ASSERT_FALSE(note.ahead.has_value()) << "access " << i;
  }
}

TEST_F(ScanDetectorTest, DownwardsOrWithStridesIsNoScan) {
  for (PageNumber page = 5'000; page > 0; --page) EXPECT_FALSE(Miss(page).ahead.has_value());
  for (PageNumber page = 10'000; page < 20'000; page += 2) {
    EXPECT_FALSE(Miss(page).ahead.has_value());
  }
}

TEST_F(ScanDetectorTest, SeveralScansAreToldApartAmongAccessesAtRandom) {
  std::mt19937_64 random(tests::Seed());
  std::vector<PageNumber> at, end;
  for (size_t i = 0; i < ScanDetector::kScans; ++i) {
    at.push_back(100'000 * (i + 1));
    end.push_back(at.back());
  }
  int waited = 0;
  for (int round = 0; round < 4'000; ++round) {
    for (size_t i = 0; i < at.size(); ++i) {
      const PageNumber page = at[i]++;
      if (page >= end[i]) ++waited;
      const auto note =
          detector_.OnAccess(page, page < end[i] ? Access::kInFlight : Access::kMissing, bounds_);
      if (note.ahead.has_value()) end[i] = note.ahead->end;
      Miss(random() % 90'000);
    }
  }
  // Of the 32'000 accesses: four at the beginning of each, and more where an access at random took
  // the place of what had begun.
  EXPECT_LT(waited, 200);
  EXPECT_EQ(detector_.abandoned(), 0u);
}

TEST_F(ScanDetectorTest, OneTooManyTakesThePlaceOfTheOneThatStoodStillLongest) {
  std::vector<size_t> places;
  for (size_t i = 0; i < ScanDetector::kScans; ++i) places.push_back(Start(10'000 * (i + 1)).scan);
  EXPECT_EQ(std::set<size_t>(places.begin(), places.end()).size(), ScanDetector::kScans);
  detector_.OnAccess(10'004, Access::kResident, bounds_);  // the first is alive
  EXPECT_TRUE(detector_.OnEvicted(20'010));
  EXPECT_EQ(Start(500'000).scan, places[1]);
  EXPECT_EQ(detector_.abandoned(), kFirst - 1);
  // What was named for it is nobody's.
  EXPECT_FALSE(detector_.OnEvicted(20'011));
  EXPECT_EQ(detector_.OnAccess(20'004, Access::kResident, bounds_).scan, ScanDetector::kNone);
  EXPECT_NE(detector_.OnAccess(10'005, Access::kResident, bounds_).scan, ScanDetector::kNone);
}

TEST_F(ScanDetectorTest, ManyWhoAskForTheSamePagesAreOneScan) {
  for (PageNumber page = 0; page < 4; ++page) {
    for (int i = 0; i < 5; ++i) {
      const auto note =
          detector_.OnAccess(page, i == 0 ? Access::kMissing : Access::kInFlight, bounds_);
      EXPECT_EQ(note.ahead.has_value(), page == 3 && i == 0);
    }
  }
}

TEST_F(ScanDetectorTest, PagesThatAreGoneWhenTheirTurnComesMakeTheWindowSmaller) {
  PageNumber page = 0, end = 0;
  uint32_t window = 0;
  for (; page < 5'000; ++page) {
    const auto note =
        detector_.OnAccess(page, page < end ? Access::kInFlight : Access::kMissing, bounds_);
    if (note.ahead.has_value()) end = note.ahead->end;
  }
  window = static_cast<uint32_t>(end - page);
  EXPECT_GT(window, 512u);
  const auto note = Miss(page);
  EXPECT_TRUE(note.afresh);
  ASSERT_TRUE(note.ahead.has_value());
  EXPECT_EQ(note.ahead->first, page + 1);
  EXPECT_EQ(note.ahead->end - note.ahead->first, 512u);
}

TEST_F(ScanDetectorTest, PagesThatWereInMemoryAnywayDoNotEndAScan) {
  const size_t scan = Start(0).scan;
  // Up to here it found all pages without anybody being told.
  const auto note = Miss(4 + kFirst + 10);
  EXPECT_EQ(note.scan, scan);
  EXPECT_FALSE(note.afresh);
  ASSERT_TRUE(note.ahead.has_value());
  EXPECT_EQ(note.ahead->first, 4 + kFirst + 11);
  // A resident page out there says nothing.
  EXPECT_EQ(detector_.OnAccess(note.ahead->end + 5, Access::kResident, bounds_).scan,
            ScanDetector::kNone);
}

TEST_F(ScanDetectorTest, WhatWasNotReadIsNamedAgain) {
  const auto note = Start(0);
  detector_.TakeBack(note.scan, *note.ahead, 7);
  EXPECT_TRUE(detector_.HasBeforeIt(note.scan, 6));
  EXPECT_FALSE(detector_.HasBeforeIt(note.scan, 7));
  const auto next = detector_.OnAccess(6, Access::kInFlight, bounds_);
  ASSERT_TRUE(next.ahead.has_value());
  EXPECT_EQ(next.ahead->first, 7u);
  // It is not the last that was named any more.
  detector_.TakeBack(note.scan, *note.ahead, 8);
  EXPECT_TRUE(detector_.HasBeforeIt(note.scan, 20));
}

TEST_F(ScanDetectorTest, PagesAskedForTogetherCountAsOneAccess) {
  // One wish for many pages is no scan ...
  EXPECT_EQ(detector_.OnAccess(1'000, Access::kInFlight, bounds_, 100).scan, ScanDetector::kNone);
  EXPECT_EQ(detector_.OnAccess(5'000, Access::kInFlight, bounds_, 100).scan, ScanDetector::kNone);
  // ... but one after the other is.
  for (PageNumber page = 0; page < 15; page += 5) {
    EXPECT_EQ(detector_.OnAccess(page, Access::kInFlight, bounds_, 5).scan, ScanDetector::kNone);
  }
  const auto note = detector_.OnAccess(15, Access::kInFlight, bounds_, 5);
  ASSERT_TRUE(note.ahead.has_value());
  EXPECT_EQ(note.ahead->first, 20u);
}

TEST_F(ScanDetectorTest, TooLittleRoomIsNoReadAhead) {
  bounds_.largest_window = ScanDetector::kLeastWindow - 1;
  for (PageNumber page = 0; page < 100; ++page) {
    EXPECT_EQ(Miss(page).scan, ScanDetector::kNone);
  }
}

}  // namespace
}  // namespace fixpool::storage
