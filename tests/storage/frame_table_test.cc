#include "fixpool/storage/frame_table.h"

#include <vector>

#include "gtest/gtest.h"

namespace fixpool::storage {
namespace {

using Counts = FrameTable::Counts;

std::vector<arena::PageHandle> Handles(uint32_t count) {
  std::vector<arena::PageHandle> handles(count);
  for (uint32_t i = 0; i < count; ++i) handles[i].page_index = 100 + i;
  return handles;
}

TEST(FrameTableTest, StartsWithAllFramesFree) {
  FrameTable frames(Handles(3));
  EXPECT_EQ(frames.size(), 3u);
  EXPECT_EQ(frames.counts(), (Counts{.free = 3}));
  EXPECT_EQ(frames[FrameIndex{2}].handle.page_index, 102u);
}

TEST(FrameTableTest, HandsOutEachFreeFrameOnce) {
  FrameTable frames(Handles(2));
  const FrameIndex first = frames.TakeFree();
  const FrameIndex second = frames.TakeFree();
  EXPECT_NE(first, second);
  EXPECT_EQ(frames.TakeFree(), kNoFrame);
  frames.PutFree(first);
  EXPECT_EQ(frames.TakeFree(), first);
}

TEST(FrameTableTest, CountsEachKindAsItChanges) {
  FrameTable frames(Handles(2));
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

TEST(FrameTableDeathTest, FramesInUseAreNotFreed) {
  FrameTable frames(Handles(1));
  const FrameIndex index = frames.TakeFree();
  FrameTable::Edit(frames, index)->state = FrameState::kResident;
  FrameTable::Edit(frames, index)->dirty = true;
  EXPECT_DEATH(frames.PutFree(index), "still in use");
}

}  // namespace
}  // namespace fixpool::storage
