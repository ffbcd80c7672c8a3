#include "fixpool/storage/frame_table.h"

#include <sys/resource.h>

#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "tests/support/process_memory.h"

namespace fixpool::storage {
namespace {

using Counts = FrameTable::Counts;

constexpr FileId kFile(7, 3);
constexpr PageNumber kPage = 42;

arena::PageHandle HandleOf(uint32_t page_index, uint32_t generation = 1) {
  return {.region = io::RegionId::FromBits(1), .page_index = page_index, .generation = generation};
}

// `count` frames from 0 on, pages of an arena from 100 on, and an open file.
class FrameTableTest : public testing::Test {
 protected:
  FrameTable Frames(uint32_t count) {
    std::vector<FrameTable::Place> places(count);
    for (uint32_t i = 0; i < count; ++i) {
      places[i] = {.index = FrameIndex{i}, .handle = HandleOf(100 + i)};
    }
    return Frames(count, std::move(places));
  }
  FrameTable Frames(uint32_t size, std::vector<FrameTable::Place> places) {
    return FrameTable(*FrameTable::Memory::Reserve(size), std::move(places), &words_);
  }

  // A frame that is about to hold the page, which is not bound yet.
  FrameIndex Unbound(FrameTable& frames, FrameState state, PageNumber page = kPage) {
    const FrameIndex index = frames.TakeFree();
    FrameTable::Edit frame(frames, index);
    frame->set_page({kFile, page});
    frame->state = state;
    return index;
  }
  // A frame with that page.
  FrameIndex Resident(FrameTable& frames, PageNumber page = kPage) {
    const FrameIndex index = Unbound(frames, FrameState::kResident, page);
    frames.Bind(index, &WordOf(page));
    return index;
  }
  AtomicPageWord& WordOf(PageNumber page) { return **file_->FindOrMake(page); }

  PageWords words_;
  FileWords* const file_ = *words_.Open(kFile);
  AtomicPageWord& word = WordOf(kPage);
};
class FrameTableDeathTest : public FrameTableTest {
 protected:
  // Not in a forked child, where there are no words.
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(FrameTableTest, StartsWithAllFramesFree) {
  FrameTable frames = Frames(3);
  EXPECT_EQ(frames.size(), 3u);
  EXPECT_EQ(frames.counts(), (Counts{.free = 3}));
  EXPECT_EQ(frames.HandleOf(FrameIndex{2}), HandleOf(102));
  EXPECT_EQ(frames.busy_bytes(), 0u);
}

TEST_F(FrameTableTest, KeepsWhatThereIsToKnowOfAPage) {
  const uint32_t last_generation = ~0u;
  FrameTable frames =
      Frames(1, {{.index = FrameIndex{0}, .handle = HandleOf((1u << 18) - 1, last_generation)}});
  const FrameIndex index = frames.TakeFree();
  const PageId last{FileId(PageWords::kMaxFiles - 1, 9), (PageNumber{1} << 51) - 1};
  {
    FrameTable::Edit frame(frames, index);
    frame->set_page(last);
    frame->state = FrameState::kLoading;
    frame->closing = true;
  }
  EXPECT_EQ(frames[index].page_number(), last.page_number);
  EXPECT_TRUE(frames[index].HoldsPageOf(last.file));
  EXPECT_FALSE(frames[index].HoldsPageOf(kFile));
  EXPECT_EQ(frames[index].state, FrameState::kLoading);
  EXPECT_TRUE(frames[index].closing);
  EXPECT_FALSE(frames[index].dirty);
  EXPECT_EQ(frames.HandleOf(index).generation, last_generation);
}

TEST_F(FrameTableTest, MemoryThatCannotBeHadIsAnError) {
  constexpr uint32_t kMany = 1 << 20;
  const rlim_t now_bytes = tests::StatusKib("VmSize") * 1024;
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_AS, &before), 0);
  // Nothing; and the frames themselves, but not what is to be known of busy ones.
  for (const rlim_t room_bytes : {rlim_t{0}, 2 * kMany * rlim_t{sizeof(Frame)}}) {
    rlimit low = before;
    low.rlim_cur = now_bytes + room_bytes;
    ASSERT_EQ(setrlimit(RLIMIT_AS, &low), 0);
    const absl::Status status = FrameTable::Memory::Reserve(kMany).status();
    ASSERT_EQ(setrlimit(RLIMIT_AS, &before), 0);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  }
  EXPECT_TRUE(FrameTable::Memory::Reserve(kMany).ok());
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
  const auto edit = [&](auto change) {
    FrameTable::Edit frame(frames, index);
    change(*frame.operator->(), frame.busy());
  };
  edit([](Frame& frame, BusyFrame&) { frame.state = FrameState::kLoading; });
  EXPECT_EQ(frames.counts(), (Counts{.free = 1, .in_flight = 1}));
  edit([](Frame&, BusyFrame& busy) { busy.attached = 1; });
  EXPECT_EQ(frames.counts(), (Counts{.free = 1, .in_flight = 1, .pinned = 1}));
  edit([](Frame& frame, BusyFrame&) { frame.state = FrameState::kResident; });
  EXPECT_EQ(frames.counts(), (Counts{.free = 1, .clean = 1, .pinned = 1}));
  edit([](Frame&, BusyFrame& busy) { busy.attached = 0; });
  EXPECT_EQ(frames.counts(), (Counts{.free = 1, .clean = 1, .evictable = 1}));
  edit([](Frame& frame, BusyFrame&) { frame.dirty = true; });
  EXPECT_EQ(frames.counts(), (Counts{.free = 1, .dirty = 1, .writable = 1}));
  edit([](Frame&, BusyFrame& busy) { busy.write_failed = true; });
  EXPECT_EQ(frames.counts(), (Counts{.free = 1, .dirty = 1, .failing = 1}));
  edit([](Frame& frame, BusyFrame& busy) {
    frame.dirty = false;
    busy.latch.BeginWriteBack();
  });
  EXPECT_EQ(frames.counts(), (Counts{.free = 1, .in_flight = 1}));
  edit([](Frame&, BusyFrame& busy) { busy.latch.EndWriteBack(); });
  frames.PutFree(index);
  EXPECT_EQ(frames.counts(), (Counts{.free = 2}));
}

TEST_F(FrameTableTest, HolesAreNobodysFrames) {
  FrameTable frames = Frames(8, {{.index = FrameIndex{6}, .handle = HandleOf(1)},
                                 {.index = FrameIndex{2}, .handle = HandleOf(5)}});
  EXPECT_EQ(frames.size(), 7u);
  EXPECT_EQ(frames.frame_count(), 2u);
  EXPECT_EQ(frames.counts(), (Counts{.free = 2}));
  EXPECT_EQ(frames[FrameIndex{0}].state, FrameState::kHole);
  EXPECT_FALSE(frames[FrameIndex{0}].HoldsPageOf(FileId(0, 1)));
  EXPECT_EQ(frames.HandleOf(FrameIndex{2}), HandleOf(5));
  EXPECT_EQ(frames.HandleOf(FrameIndex{6}), HandleOf(1));
  EXPECT_EQ(frames.TakeFree(), FrameIndex{2});
  EXPECT_EQ(frames.TakeFree(), FrameIndex{6});
  EXPECT_EQ(frames.TakeFree(), kNoFrame);
}

TEST_F(FrameTableTest, PageIsLeftToItsWord) {
  FrameTable frames = Frames(2);
  const FrameIndex index = Resident(frames);
  EXPECT_TRUE(Load(word).CanAddReader());
  EXPECT_TRUE(Load(word).CanClose());
  EXPECT_EQ(Load(word).frame(), index);
}

TEST_F(FrameTableTest, LoadingPageIsClosedAndGuarded) {
  FrameTable frames = Frames(2);
  const FrameIndex index = Unbound(frames, FrameState::kLoading);
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
  const FrameIndex index = Resident(frames);
  word = Load(word).PlusReader().PlusReader().bits();
  {
    const FrameTable::Capture capture(frames, index);
    EXPECT_TRUE(Load(word).guarded());
    EXPECT_EQ(Load(word).readers(), 0u);
    EXPECT_EQ(frames.Busy(index).latch.readers(), 2u);
    EXPECT_EQ(frames.counts().pinned, 1u);
    {
      const FrameTable::Capture inner(frames, index);
      EXPECT_EQ(frames.Busy(index).latch.readers(), 2u);
    }
    EXPECT_TRUE(Load(word).guarded());
  }
  EXPECT_FALSE(Load(word).guarded());
  EXPECT_EQ(Load(word).readers(), 2u);
  EXPECT_FALSE(frames.Busy(index).latch.held());
  EXPECT_EQ(frames.counts(), (Counts{.free = 1, .clean = 1, .evictable = 1}));
}

TEST_F(FrameTableTest, WriterMovesOnVersionWhereverItLeaves) {
  FrameTable frames = Frames(1);
  const FrameIndex index = Resident(frames);
  const PageWord before = Load(word);
  word = before.Closed().bits();
  {
    FrameTable::Edit frame(frames, index);
    EXPECT_TRUE(frame.busy().latch.held_exclusively());
    EXPECT_TRUE(Load(word).closed());
    EXPECT_FALSE(frame.busy().latch.ReleaseExclusive());
  }
  EXPECT_FALSE(Load(word).closed());
  EXPECT_FALSE(Load(word).SameLife(before));
  EXPECT_EQ(Load(word).version(), before.Closed().Opened().version());
}

TEST_F(FrameTableTest, StaysCapturedWhileSomebodyWaits) {
  FrameTable frames = Frames(1);
  const FrameIndex index = Resident(frames);
  FrameTable::Edit(frames, index).busy().latch.BeginWait(PageLatch::Mode::kExclusive);
  EXPECT_TRUE(Load(word).guarded());
  EXPECT_FALSE(FrameTable::Edit(frames, index).busy().latch.EndWait(PageLatch::Mode::kExclusive));
  EXPECT_FALSE(Load(word).guarded());
  FrameTable::Edit(frames, index).busy().attached = 1;
  EXPECT_TRUE(Load(word).guarded());
  FrameTable::Edit(frames, index).busy().attached = 0;
  FrameTable::Edit(frames, index).busy().latch.BeginWriteBack();
  EXPECT_TRUE(Load(word).guarded());
  EXPECT_TRUE(Load(word).readable());
  FrameTable::Edit(frames, index).busy().latch.EndWriteBack();
  EXPECT_FALSE(Load(word).guarded());
}

TEST_F(FrameTableTest, WantedPageStaysCapturedWhileHeld) {
  FrameTable frames = Frames(1);
  const FrameIndex index = Resident(frames);
  word = Load(word).PlusReader().bits();
  {
    const FrameTable::Capture capture(frames, index);
    frames.SetWanted(index);
  }
  EXPECT_TRUE(Load(word).guarded());
  EXPECT_EQ(frames.counts().pinned, 1u);
  EXPECT_FALSE(FrameTable::Edit(frames, index).busy().latch.ReleaseShared());
  EXPECT_FALSE(Load(word).guarded());
  EXPECT_EQ(frames.counts().pinned, 0u);
}

TEST_F(FrameTableTest, MoreReadersThanAWordCounts) {
  FrameTable frames = Frames(1);
  const FrameIndex index = Resident(frames);
  while (Load(word).CanAddReader()) word = Load(word).PlusReader().bits();
  EXPECT_EQ(Load(word).readers(), PageWord::kMaxReaders);
  EXPECT_EQ(FrameTable::Edit(frames, index).busy().latch.TryShared({}),
            PageLatch::Answer::kGranted);
  EXPECT_TRUE(Load(word).guarded());
  EXPECT_EQ(frames.Busy(index).latch.readers(), PageWord::kMaxReaders + 1);
  while (Load(word).guarded()) {
    EXPECT_FALSE(FrameTable::Edit(frames, index).busy().latch.ReleaseShared());
  }
  EXPECT_EQ(Load(word).readers(), PageWord::kMaxReaders / 2);
}

TEST_F(FrameTableTest, EachLifeOfAPageHasAVersionOfItsOwn) {
  FrameTable frames = Frames(1);
  const FrameIndex index = Resident(frames);
  const PageWord first = Load(word);
  frames.Unbind(index);
  EXPECT_FALSE(Load(word).present());
  frames.Bind(index, &word);
  EXPECT_EQ(Load(word).frame(), first.frame());
  EXPECT_FALSE(Load(word).SameLife(first));
}

TEST_F(FrameTableDeathTest, OneFrameForEachPageAndOnePageForEachFrame) {
  FrameTable frames = Frames(2);
  const FrameIndex index = Resident(frames);
  EXPECT_DEATH(frames.Bind(index, &WordOf(kPage + 1)), "two pages in one frame");
  EXPECT_DEATH(frames.Bind(Unbound(frames, FrameState::kLoading), &word), "one page in two frames");
  frames.Unbind(index);
  EXPECT_DEATH(frames.Unbind(index), "was not in it");
}

TEST_F(FrameTableTest, WatchedPageIsComeToByTheLock) {
  FrameTable frames = Frames(2);
  const FrameIndex index = Resident(frames);
  frames.Watch(index);
  EXPECT_TRUE(Load(word).guarded());
  EXPECT_TRUE(Load(word).readable()) << "to look at it is free";
  EXPECT_FALSE(frames.TryVacate(index));
  // Its word tells of writers like any other's, or looks at it would be believed.
  const PageWord before = Load(word);
  ASSERT_EQ(FrameTable::Edit(frames, index).busy().latch.TryExclusive({}),
            PageLatch::Answer::kGranted);
  EXPECT_TRUE(Load(word).closed());
  (void)FrameTable::Edit(frames, index).busy().latch.ReleaseExclusive();
  EXPECT_TRUE(Load(word).readable());
  EXPECT_FALSE(Load(word).SameLife(before));
  EXPECT_TRUE(Load(word).guarded());
  frames.Unwatch(index, kFile, kPage + 1);
  frames.Unwatch(index, FileId(kFile.slot() + 1, 1), kPage);
  EXPECT_TRUE(frames.watched(index)) << "that was another page";
  frames.Unwatch(index, kFile, kPage);
  EXPECT_FALSE(Load(word).guarded());
  EXPECT_EQ(frames[index].busy, 0u);
}

TEST_F(FrameTableTest, PageThatLeavesIsNotWatchedAnyMore) {
  FrameTable frames = Frames(2);
  const FrameIndex index = Resident(frames);
  frames.Watch(index);
  frames.Unbind(index);
  FrameTable::Edit(frames, index)->state = FrameState::kFree;
  EXPECT_EQ(frames[index].busy, 0u);
  frames.PutFree(index);
  frames.Unwatch(index, kFile, kPage);
  frames.Unwatch(FrameIndex{1000}, kFile, kPage);
  EXPECT_FALSE(frames.watched(index));
}

TEST_F(FrameTableTest, CalmFrameHasNoBusyFrame) {
  FrameTable frames = Frames(2);
  const FrameIndex index = Resident(frames);
  EXPECT_EQ(frames[index].busy, 0u);
  word = Load(word).PlusReader().bits();
  {
    const FrameTable::Capture capture(frames, index);
    EXPECT_NE(frames[index].busy, 0u);
    EXPECT_EQ(&capture.busy(), &frames.Busy(index));
    EXPECT_EQ(frames.WordOf(index), &word);
  }
  EXPECT_EQ(frames[index].busy, 0u);
  EXPECT_EQ(frames.WordOf(index), &word);
  EXPECT_FALSE(frames.IsPinned(index));
  EXPECT_TRUE(frames.IsPinnedOrHeld(index));
  word = Load(word).MinusReader().bits();
  EXPECT_FALSE(frames.IsPinnedOrHeld(index));
  FrameTable::Edit(frames, index)->dirty = true;
  EXPECT_EQ(frames[index].busy, 0u);
  EXPECT_TRUE(frames[index].dirty);
}

TEST_F(FrameTableTest, WriterMarksItsPageDirtyWhereverItIs) {
  FrameTable frames = Frames(2);
  const FrameIndex index = Resident(frames);
  const PageWord held = Load(word).Closed();
  word = held.bits();
  frames.MarkDirty(index);
  EXPECT_TRUE(frames.IsDirtyUnderMyLatch(index));
  EXPECT_EQ(Load(word), held);
  EXPECT_EQ(frames.counts(), (Counts{.free = 1, .dirty = 1, .writable = 1}));
  FrameTable::Edit(frames, index)->dirty = false;
  const FrameTable::Capture capture(frames, index);
  frames.MarkDirty(index);
  EXPECT_EQ(frames.counts(), (Counts{.free = 1, .dirty = 1, .pinned = 1}));
}

TEST_F(FrameTableTest, FailingPageKeepsItsErrorAndItsWord) {
  FrameTable frames = Frames(2);
  const FrameIndex index = Resident(frames);
  {
    FrameTable::Edit frame(frames, index);
    frame->dirty = true;
    frame.busy().write_failed = true;
    frame.busy().error = absl::UnavailableError("the disk is away");
  }
  EXPECT_NE(frames[index].busy, 0u);
  EXPECT_TRUE(Load(word).CanClose());
  word = Load(word).PlusReader().bits();
  {
    const FrameTable::Capture capture(frames, index);
    EXPECT_EQ(capture.busy().error, absl::UnavailableError("the disk is away"));
    EXPECT_EQ(capture.busy().latch.readers(), 1u);
  }
  EXPECT_EQ(Load(word).readers(), 1u);
  EXPECT_EQ(frames.counts(), (Counts{.free = 1, .dirty = 1, .failing = 1}));
  {
    FrameTable::Edit frame(frames, index);
    frame->dirty = false;
    frame.busy().write_failed = false;
  }
  EXPECT_EQ(frames[index].busy, 0u);
  const FrameTable::Capture capture(frames, index);
  EXPECT_TRUE(capture.busy().error.ok());
}

TEST_F(FrameTableTest, ClosingPageStaysGuardedWithoutABusyFrame) {
  FrameTable frames = Frames(1);
  const FrameIndex index = Resident(frames);
  word = Load(word).PlusReader().bits();
  FrameTable::Edit(frames, index)->closing = true;
  EXPECT_TRUE(frames.IsPinned(index));
  EXPECT_FALSE(FrameTable::Edit(frames, index).busy().latch.ReleaseShared());
  EXPECT_TRUE(Load(word).guarded());
  EXPECT_EQ(frames[index].busy, 0u);
  EXPECT_FALSE(frames.TryVacate(index));
  {
    const FrameTable::Capture capture(frames, index);
    EXPECT_FALSE(capture.busy().pinned());
  }
  EXPECT_TRUE(Load(word).guarded());
  FrameTable::Edit(frames, index)->closing = false;
  EXPECT_FALSE(Load(word).guarded());
}

TEST_F(FrameTableTest, VacatesWhatNobodyNeeds) {
  FrameTable frames = Frames(2);
  const FrameIndex index = Resident(frames);
  const PageWord before = Load(word);
  ASSERT_TRUE(frames.TryVacate(index));
  EXPECT_FALSE(Load(word).present());
  EXPECT_EQ(Load(word).version(), before.version() + 1);
  EXPECT_EQ(frames[index].page_number(), kPage);
  EXPECT_EQ(frames.counts(), (Counts{.free = 2}));
  EXPECT_EQ(frames.available(), 1u);
  EXPECT_FALSE(frames.TryVacate(index));
  frames.PutFree(index);
  EXPECT_EQ(frames.available(), 2u);
  EXPECT_EQ(Resident(frames), index);
  EXPECT_FALSE(Load(word).SameLife(before));
}

TEST_F(FrameTableTest, VacatesNothingThatIsHeldOrDirtyOrBusy) {
  FrameTable frames = Frames(2);
  const FrameIndex index = Resident(frames);
  word = Load(word).PlusReader().bits();
  EXPECT_FALSE(frames.TryVacate(index));
  word = Load(word).MinusReader().Closed().bits();
  EXPECT_FALSE(frames.TryVacate(index));
  word = Load(word).Opened().bits();
  FrameTable::Edit(frames, index).busy().attached = 1;
  EXPECT_FALSE(frames.TryVacate(index));
  FrameTable::Edit(frames, index).busy().attached = 0;
  FrameTable::Edit(frames, index)->dirty = true;
  EXPECT_FALSE(frames.TryVacate(index));
  FrameTable::Edit(frames, index)->dirty = false;
  EXPECT_FALSE(frames.TryVacate(Unbound(frames, FrameState::kLoading, kPage + 1)));
  EXPECT_TRUE(frames.TryVacate(index));
}

// As many at a time as there can be, and then one after the other in the memory of the first.
TEST_F(FrameTableTest, BusyFramesComeBack) {
  constexpr uint32_t kCount = 100;
  FrameTable frames = Frames(kCount);
  for (uint32_t i = 0; i < kCount; ++i) Resident(frames, i);
  const size_t one_bytes = frames.busy_bytes();
  EXPECT_EQ(one_bytes, 64u);
  for (uint32_t i = 0; i < kCount; ++i) {
    FrameTable::Edit(frames, FrameIndex{i}).busy().attached = 1;
  }
  EXPECT_EQ(frames.busy_bytes(), kCount * one_bytes);
  EXPECT_EQ(frames.counts().pinned, kCount);
  for (uint32_t i = 0; i < kCount; ++i) {
    FrameTable::Edit(frames, FrameIndex{i}).busy().attached = 0;
    EXPECT_TRUE(frames.TryVacate(FrameIndex{i}));
    frames.PutFree(FrameIndex{i});
  }
  EXPECT_EQ(frames.counts(), (Counts{.free = kCount}));
  EXPECT_EQ(frames.busy_bytes(), kCount * one_bytes);
}

TEST_F(FrameTableTest, PageThatCouldNotBeReadKeepsItsErrorUntilTheFrameIsFree) {
  FrameTable frames = Frames(1);
  const FrameIndex index = Unbound(frames, FrameState::kLoading);
  frames.Bind(index, &word);
  frames.Unbind(index);
  {
    FrameTable::Edit frame(frames, index);
    frame.busy().read_failed = true;
    frame.busy().error = absl::UnavailableError("the disk is away");
  }
  EXPECT_EQ(frames.Busy(index).error.message(), "the disk is away");
  EXPECT_EQ(frames.WordOf(index), nullptr);
  EXPECT_EQ(frames.counts(), (Counts{.in_flight = 1}));
  frames.PutFree(index);
  EXPECT_EQ(frames[index].busy, 0u);
  EXPECT_TRUE(frames.Busy(index).error.ok());
}

TEST_F(FrameTableDeathTest, FramesInUseAreNotFreed) {
  FrameTable frames = Frames(1);
  const FrameIndex index = Unbound(frames, FrameState::kResident);
  FrameTable::Edit(frames, index)->dirty = true;
  EXPECT_DEATH(frames.PutFree(index), "still in use");
  FrameTable::Edit(frames, index)->dirty = false;
  frames.Bind(index, &word);
  EXPECT_DEATH(frames.PutFree(index), "still in use");
}

TEST_F(FrameTableDeathTest, FramesAreAllocatedPagesAndEachIsOne) {
  EXPECT_DEATH(Frames(1, {{.index = FrameIndex{0}, .handle = HandleOf(0, 2)}}), "not allocated");
  EXPECT_DEATH(Frames(1, {{.index = FrameIndex{0}, .handle = HandleOf(0)},
                          {.index = FrameIndex{0}, .handle = HandleOf(1)}}),
               "two frames in one place");
}

FrameTable::Place PlaceOf(uint32_t index) {
  return {.index = FrameIndex{index}, .handle = HandleOf(100 + index)};
}

TEST_F(FrameTableTest, FramesAreAddedWhileOthersAreInUse) {
  FrameTable frames(*FrameTable::Memory::Reserve(1, 1000), {PlaceOf(0)}, &words_);
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

TEST_F(FrameTableTest, FramesComeBackAfterATrim) {
  constexpr uint32_t kCount = 5000;
  FrameTable frames(*FrameTable::Memory::Reserve(kCount), {PlaceOf(0)}, &words_);
  for (uint32_t round = 0; round < 3; ++round) {
    std::vector<FrameTable::Place> places;
    std::vector<FrameIndex> leaving;
    for (uint32_t i = 1; i < kCount; ++i) {
      // In another region each time.
      const arena::PageHandle handle{.region = io::RegionId::FromBits(round + 2),
                                     .page_index = i,
                                     .generation = 2 * round + 1};
      places.push_back({.index = FrameIndex{i}, .handle = handle});
      leaving.push_back(FrameIndex{i});
    }
    frames.Add(places);
    frames.Leave(leaving);
    for (const FrameTable::Place& place : places) {
      ASSERT_EQ(frames.Remove(place.index), place.handle);
    }
    EXPECT_TRUE(frames.Trim(100));
    EXPECT_EQ(frames.size(), kCount - 100);
    while (frames.Trim(1000)) {
    }
    EXPECT_EQ(frames.size(), 1u);
    EXPECT_EQ(frames.frame_count(), 1u);
    // Whoever noted a number looks there all the same.
    EXPECT_EQ(frames[FrameIndex{kCount - 1}].state, FrameState::kHole);
    EXPECT_EQ(frames.HandleOf(FrameIndex{0}), HandleOf(100));
  }
}

TEST_F(FrameTableTest, ContentsMoveWithWhatIsKnownOfThem) {
  FrameTable frames = Frames(2);
  const FrameIndex from = Resident(frames);
  const FrameIndex to = frames.TakeFree();
  {
    const FrameTable::Edit frame(frames, from);
    frame->dirty = true;
    frame.busy().write_failed = true;
    frame.busy().error = absl::DataLossError("gone");
  }
  const PageWord before = Load(word);
  const auto move = [&](FrameIndex source, FrameIndex target) {
    const FrameTable::Capture capture(frames, source);
    frames.Unbind(source);
    frames.MoveContents(source, target);
    frames.Bind(target, &word);
  };
  move(from, to);
  EXPECT_EQ(frames[from].state, FrameState::kFree);
  EXPECT_FALSE(frames[from].dirty);
  EXPECT_TRUE(frames[to].HoldsPageOf(kFile));
  EXPECT_EQ(frames[to].page_number(), kPage);
  EXPECT_TRUE(frames[to].dirty && frames.Busy(to).write_failed);
  EXPECT_TRUE(absl::IsDataLoss(frames.Busy(to).error));
  EXPECT_EQ(frames.counts(), (Counts{.free = 1, .dirty = 1, .failing = 1}));
  EXPECT_EQ(Load(word).frame(), to);
  EXPECT_TRUE(Load(word).CanAddReader());
  EXPECT_FALSE(Load(word).SameLife(before));
  // And back: who looked before the first move is not deceived.
  move(to, from);
  EXPECT_EQ(Load(word).frame(), from);
  EXPECT_FALSE(Load(word).SameLife(before));
}

TEST_F(FrameTableDeathTest, ChecksWhatComesAndGoes) {
  FrameTable frames = Frames(2);
  EXPECT_DEATH(frames.Add({PlaceOf(0)}), "two frames in one place");
  EXPECT_DEATH(frames.Add({PlaceOf(1'000'000)}), "more frames than there is room for");
  EXPECT_DEATH((void)frames.Remove(FrameIndex{0}), "a frame was removed that is in use");
  EXPECT_DEATH(frames.MoveContents(FrameIndex{0}, FrameIndex{1}),
               "a page was moved that is in use");
}

}  // namespace
}  // namespace fixpool::storage
