#include "fixpool/storage/frame_table.h"

#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"

namespace fixpool::storage {
namespace {

using Counts = FrameTable::Counts;

// `count` frames from 0 on.
class FrameTableTest : public testing::Test {
 protected:
  FrameTable Frames(uint32_t count) {
    std::vector<FrameTable::Place> places(count);
    for (uint32_t i = 0; i < count; ++i) {
      places[i].index = FrameIndex{i};
      places[i].handle.page_index = 100 + i;
    }
    return FrameTable(count, places, &epoch_);
  }

  VersionEpoch epoch_;
};
using FrameTableDeathTest = FrameTableTest;

FrameTable::Place PlaceOf(uint32_t index) {
  FrameTable::Place place{.index = FrameIndex{index}, .handle = {}};
  place.handle.page_index = 100 + index;
  return place;
}

TEST_F(FrameTableTest, StartsWithAllFramesFree) {
  FrameTable frames = Frames(3);
  EXPECT_EQ(frames.size(), 3u);
  EXPECT_EQ(frames.counts(), (Counts{.free = 3}));
  EXPECT_EQ(frames[FrameIndex{2}].handle.page_index, 102u);
}

TEST_F(FrameTableTest, HandsOutEachFreeFrameOnce) {
  FrameTable frames = Frames(2);
  const FrameIndex first = frames.TakeFree();
  const FrameIndex second = frames.TakeFree();
  EXPECT_NE(first, second);
  EXPECT_EQ(frames.TakeFree(), kNoFrame);
  frames.PutFree(first);
  EXPECT_EQ(frames.TakeFree(), first);
}

TEST_F(FrameTableTest, CountsEachKindAsItChanges) {
  FrameTable frames = Frames(2);
  const FrameIndex index = frames.TakeFree();
  const auto edit = [&](auto change) { change(*FrameTable::Edit(frames, index).operator->()); };
  edit([](Frame& frame) { frame.state = FrameState::kLoading; });
  EXPECT_EQ(frames.counts(), (Counts{.free = 1, .in_flight = 1}));
  edit([](Frame& frame) { frame.attached = 1; });
  EXPECT_EQ(frames.counts(), (Counts{.free = 1, .in_flight = 1, .pinned = 1}));
  edit([](Frame& frame) { frame.state = FrameState::kResident; });
  EXPECT_EQ(frames.counts(), (Counts{.free = 1, .clean = 1, .pinned = 1}));
  edit([](Frame& frame) { frame.attached = 0; });
  EXPECT_EQ(frames.counts(), (Counts{.free = 1, .clean = 1, .evictable = 1}));
  edit([](Frame& frame) { frame.dirty = true; });
  EXPECT_EQ(frames.counts(), (Counts{.free = 1, .dirty = 1, .writable = 1}));
  edit([](Frame& frame) { frame.write_failed = true; });
  EXPECT_EQ(frames.counts(), (Counts{.free = 1, .dirty = 1, .failing = 1}));
  edit([](Frame& frame) {
    frame.dirty = false;
    frame.latch.BeginWriteBack();
  });
  EXPECT_EQ(frames.counts(), (Counts{.free = 1, .in_flight = 1}));
  edit([](Frame& frame) { frame.latch.EndWriteBack(); });
  frames.PutFree(index);
  EXPECT_EQ(frames.counts(), (Counts{.free = 2}));
}

TEST_F(FrameTableTest, HolesAreNobodysFrames) {
  FrameTable frames(
      8, {{.index = FrameIndex{6}, .handle = {}}, {.index = FrameIndex{2}, .handle = {}}}, &epoch_);
  EXPECT_EQ(frames.size(), 7u);
  EXPECT_EQ(frames.frame_count(), 2u);
  EXPECT_EQ(frames.counts(), (Counts{.free = 2}));
  EXPECT_EQ(frames.TakeFree(), FrameIndex{2});
  EXPECT_EQ(frames.TakeFree(), FrameIndex{6});
  EXPECT_EQ(frames.TakeFree(), kNoFrame);
}

// A frame with a page, whose word is `word`.
FrameIndex Resident(FrameTable& frames, AtomicPageWord& word) {
  const FrameIndex index = frames.TakeFree();
  FrameTable::Edit(frames, index)->state = FrameState::kResident;
  frames.Bind(index, &word);
  return index;
}

TEST_F(FrameTableTest, PageIsLeftToItsWord) {
  FrameTable frames = Frames(2);
  AtomicPageWord word{0};
  const FrameIndex index = Resident(frames, word);
  EXPECT_TRUE(Load(word).CanAddReader());
  EXPECT_TRUE(Load(word).CanClose());
  EXPECT_EQ(Load(word).frame(), index);
}

TEST_F(FrameTableTest, LoadingPageIsClosedAndGuarded) {
  FrameTable frames = Frames(2);
  AtomicPageWord word{0};
  const FrameIndex index = frames.TakeFree();
  FrameTable::Edit(frames, index)->state = FrameState::kLoading;
  frames.Bind(index, &word);
  EXPECT_TRUE(Load(word).closed());
  EXPECT_TRUE(Load(word).guarded());
  const uint32_t version = Load(word).version();
  FrameTable::Edit(frames, index)->state = FrameState::kResident;
  EXPECT_TRUE(Load(word).CanAddReader());
  EXPECT_NE(Load(word).version(), version);
}

TEST_F(FrameTableTest, CaptureBringsHoldersOverAndLetsThemGoBack) {
  FrameTable frames = Frames(2);
  AtomicPageWord word{0};
  const FrameIndex index = Resident(frames, word);
  word = Load(word).PlusReader().PlusReader().bits();
  {
    const FrameTable::Capture capture(frames, index);
    EXPECT_TRUE(Load(word).guarded());
    EXPECT_EQ(Load(word).readers(), 0u);
    EXPECT_EQ(frames[index].latch.readers(), 2u);
    EXPECT_EQ(frames.counts().pinned, 1u);
    {
      const FrameTable::Capture inner(frames, index);
      EXPECT_EQ(frames[index].latch.readers(), 2u);
    }
    EXPECT_TRUE(Load(word).guarded());
  }
  EXPECT_FALSE(Load(word).guarded());
  EXPECT_EQ(Load(word).readers(), 2u);
  EXPECT_FALSE(frames[index].latch.held());
  EXPECT_EQ(frames.counts(), (Counts{.free = 1, .clean = 1, .evictable = 1}));
}

TEST_F(FrameTableTest, WriterMovesOnVersionWhereverItLeaves) {
  FrameTable frames = Frames(1);
  AtomicPageWord word{0};
  const FrameIndex index = Resident(frames, word);
  const PageWord before = Load(word);
  word = before.Closed().bits();
  {
    FrameTable::Edit frame(frames, index);
    EXPECT_TRUE(frame->latch.held_exclusively());
    EXPECT_TRUE(Load(word).closed());
    EXPECT_FALSE(frame->latch.ReleaseExclusive());
  }
  EXPECT_FALSE(Load(word).closed());
  EXPECT_FALSE(Load(word).SameLife(before));
  EXPECT_EQ(Load(word).version(), before.Closed().Opened().version());
}

TEST_F(FrameTableTest, StaysCapturedWhileSomebodyWaits) {
  FrameTable frames = Frames(1);
  AtomicPageWord word{0};
  const FrameIndex index = Resident(frames, word);
  FrameTable::Edit(frames, index)->latch.BeginWait(PageLatch::Mode::kExclusive);
  EXPECT_TRUE(Load(word).guarded());
  EXPECT_FALSE(FrameTable::Edit(frames, index)->latch.EndWait(PageLatch::Mode::kExclusive));
  EXPECT_FALSE(Load(word).guarded());
  FrameTable::Edit(frames, index)->attached = 1;
  EXPECT_TRUE(Load(word).guarded());
  FrameTable::Edit(frames, index)->attached = 0;
  FrameTable::Edit(frames, index)->latch.BeginWriteBack();
  EXPECT_TRUE(Load(word).guarded());
  EXPECT_TRUE(Load(word).readable());
  FrameTable::Edit(frames, index)->latch.EndWriteBack();
  EXPECT_FALSE(Load(word).guarded());
}

TEST_F(FrameTableTest, WantedPageStaysCapturedWhileHeld) {
  FrameTable frames = Frames(1);
  AtomicPageWord word{0};
  const FrameIndex index = Resident(frames, word);
  word = Load(word).PlusReader().bits();
  {
    const FrameTable::Capture capture(frames, index);
    frames.SetWanted(index);
  }
  EXPECT_TRUE(Load(word).guarded());
  EXPECT_EQ(frames.counts().pinned, 1u);
  EXPECT_FALSE(FrameTable::Edit(frames, index)->latch.ReleaseShared());
  EXPECT_FALSE(Load(word).guarded());
  EXPECT_EQ(frames.counts().pinned, 0u);
}

TEST_F(FrameTableTest, MoreReadersThanAWordCounts) {
  FrameTable frames = Frames(1);
  AtomicPageWord word{0};
  const FrameIndex index = Resident(frames, word);
  while (Load(word).CanAddReader()) word = Load(word).PlusReader().bits();
  EXPECT_EQ(Load(word).readers(), PageWord::kMaxReaders);
  EXPECT_EQ(FrameTable::Edit(frames, index)->latch.TryShared({}), PageLatch::Answer::kGranted);
  EXPECT_TRUE(Load(word).guarded());
  EXPECT_EQ(frames[index].latch.readers(), PageWord::kMaxReaders + 1);
  while (Load(word).guarded()) {
    EXPECT_FALSE(FrameTable::Edit(frames, index)->latch.ReleaseShared());
  }
  EXPECT_EQ(Load(word).readers(), PageWord::kMaxReaders / 2);
}

TEST_F(FrameTableTest, EachLifeOfAPageHasAVersionOfItsOwn) {
  FrameTable frames = Frames(1);
  AtomicPageWord word{0};
  const FrameIndex index = Resident(frames, word);
  const PageWord first = Load(word);
  frames.Unbind(index);
  EXPECT_FALSE(Load(word).present());
  frames.Bind(index, &word);
  EXPECT_EQ(Load(word).frame(), first.frame());
  EXPECT_FALSE(Load(word).SameLife(first));
}

TEST_F(FrameTableDeathTest, OneFrameForEachPageAndOnePageForEachFrame) {
  FrameTable frames = Frames(2);
  AtomicPageWord word{0};
  AtomicPageWord other{0};
  const FrameIndex index = Resident(frames, word);
  EXPECT_DEATH(frames.Bind(index, &other), "two pages in one frame");
  EXPECT_DEATH(frames.Bind(frames.TakeFree(), &word), "one page in two frames");
  frames.Unbind(index);
  EXPECT_DEATH(frames.Unbind(index), "was not in it");
}

TEST_F(FrameTableDeathTest, FramesInUseAreNotFreed) {
  FrameTable frames = Frames(1);
  const FrameIndex index = frames.TakeFree();
  FrameTable::Edit(frames, index)->state = FrameState::kResident;
  FrameTable::Edit(frames, index)->dirty = true;
  EXPECT_DEATH(frames.PutFree(index), "still in use");
}

TEST_F(FrameTableTest, FramesAreAddedWhileOthersAreInUse) {
  FrameTable frames(1000, {PlaceOf(0)}, &epoch_);
  const FrameIndex first = frames.TakeFree();
  ASSERT_TRUE(frames.MakeRoom(1000).ok());
  frames.Add({PlaceOf(999), PlaceOf(7)});
  EXPECT_EQ(frames.size(), 1000u);
  EXPECT_EQ(frames.frame_count(), 3u);
  EXPECT_EQ(frames.counts(), (Counts{.free = 3}));
  EXPECT_EQ(frames.TakeFree(), FrameIndex{7});
  EXPECT_EQ(frames.TakeFree(), FrameIndex{999});
  EXPECT_EQ(frames.TakeFree(), kNoFrame);
  frames.PutFree(first);
  EXPECT_EQ(frames.TakeFree(), first);
}

TEST_F(FrameTableTest, LeavingFramesAreGivenToNobody) {
  FrameTable frames = Frames(4);
  const FrameIndex used = frames.TakeFree();
  EXPECT_EQ(used, FrameIndex{0});
  const std::vector<FrameIndex> leaving = {FrameIndex{0}, FrameIndex{2}};
  frames.Leave(leaving);
  EXPECT_EQ(frames.leaving_count(), 2u);
  EXPECT_EQ(frames.available(), 2u);
  EXPECT_EQ(frames.TakeFree(), FrameIndex{1});
  EXPECT_EQ(frames.TakeFree(), FrameIndex{3});
  frames.PutFree(used);
  EXPECT_EQ(frames.TakeFree(), kNoFrame);
  EXPECT_EQ(frames.counts(), (Counts{.free = 4}));
  EXPECT_EQ(frames.Remove(used).page_index, 100u);
  EXPECT_EQ(frames.counts(), (Counts{.free = 3}));
  EXPECT_EQ(frames.frame_count(), 3u);
  EXPECT_EQ(frames.leaving_count(), 1u);
  // One stays after all; the other is a hole.
  frames.Stay(leaving);
  EXPECT_EQ(frames.TakeFree(), FrameIndex{2});
  EXPECT_EQ(frames.TakeFree(), kNoFrame);
  EXPECT_EQ(frames.leaving_count(), 0u);
}

TEST_F(FrameTableTest, ComeBackAfterATrim) {
  constexpr uint32_t kCount = 500;
  FrameTable frames(kCount, {PlaceOf(0)}, &epoch_);
  ASSERT_TRUE(frames.MakeRoom(kCount).ok());
  for (int round = 0; round < 3; ++round) {
    std::vector<FrameTable::Place> places;
    for (uint32_t i = 1; i < kCount; ++i) places.push_back(PlaceOf(i));
    frames.Add(places);
    std::vector<FrameIndex> leaving;
    for (const FrameTable::Place& place : places) leaving.push_back(place.index);
    frames.Leave(leaving);
    for (const FrameTable::Place& place : places) {
      EXPECT_EQ(frames.Remove(place.index), place.handle);
    }
    EXPECT_TRUE(frames.Trim(100));
    EXPECT_EQ(frames.size(), kCount - 100);
    while (frames.Trim(100)) {
    }
    EXPECT_EQ(frames.size(), 1u);
    EXPECT_EQ(frames.frame_count(), 1u);
    // Whoever noted a number looks there all the same.
    EXPECT_EQ(frames[FrameIndex{kCount - 1}].state, FrameState::kFree);
  }
}

TEST_F(FrameTableTest, ContentsMoveWithWhatIsKnownOfThem) {
  FrameTable frames = Frames(2);
  const FrameIndex from = frames.TakeFree();
  const FrameIndex to = frames.TakeFree();
  const PageId page{FileId(1, 2), 3};
  AtomicPageWord word{0};
  {
    FrameTable::Edit frame(frames, from);
    frame->page = page;
    frame->state = FrameState::kResident;
    frame->dirty = true;
    frame->write_failed = true;
    frame->error = absl::DataLossError("gone");
  }
  frames.Bind(from, &word);
  const PageWord before = Load(word);
  frames.Unbind(from);
  frames.MoveContents(from, to);
  frames.Bind(to, &word);
  EXPECT_EQ(frames[from].state, FrameState::kFree);
  EXPECT_FALSE(frames[from].dirty);
  EXPECT_TRUE(frames[from].error.ok());
  EXPECT_EQ(frames[to].page, page);
  EXPECT_TRUE(frames[to].dirty && frames[to].write_failed);
  EXPECT_TRUE(absl::IsDataLoss(frames[to].error));
  EXPECT_EQ(frames.counts(), (Counts{.free = 1, .dirty = 1, .failing = 1}));
  EXPECT_EQ(Load(word).frame(), to);
  EXPECT_FALSE(Load(word).SameLife(before));
  // And back: who looked before the first move is not deceived.
  frames.Unbind(to);
  frames.MoveContents(to, from);
  frames.Bind(from, &word);
  EXPECT_EQ(Load(word).frame(), from);
  EXPECT_FALSE(Load(word).SameLife(before));
}

TEST_F(FrameTableDeathTest, ChecksWhatComesAndGoes) {
  FrameTable frames = Frames(2);
  EXPECT_DEATH(frames.Add({PlaceOf(0)}), "a frame was added that was there");
  EXPECT_DEATH(frames.Add({PlaceOf(1'000'000)}), "more frames than there is room for");
  EXPECT_DEATH((void)frames.Remove(FrameIndex{0}), "a frame was removed that is in use");
}

}  // namespace
}  // namespace fixpool::storage
