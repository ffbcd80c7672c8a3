#include "fixpool/storage/frame_table.h"

#include <vector>

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
  EXPECT_EQ(frames.size(), 8u);
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

}  // namespace
}  // namespace fixpool::storage
