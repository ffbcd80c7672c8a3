#include "fixpool/storage/frame_lsns.h"

#include <cstdint>

#include "gtest/gtest.h"
#include "tests/support/process_memory.h"

namespace fixpool::storage {
namespace {

constexpr uint32_t kMostFrames = 1u << 26;
constexpr FrameIndex kFrame{5};
constexpr FrameIndex kOther{4000};

TEST(FrameLsnsTest, SaysNothingOfAnyFrameAtFirst) {
  const FrameLsns lsns(kMostFrames, kMostFrames);
  for (const uint32_t frame : {0u, 1u, 4095u, kMostFrames - 1}) {
    EXPECT_EQ(lsns.page(FrameIndex{frame}), Lsn::kNone);
    EXPECT_EQ(lsns.first_dirty(FrameIndex{frame}), Lsn::kNone);
  }
  EXPECT_FALSE(lsns.in_use());
}

TEST(FrameLsnsTest, KeepsTheLargerOfTwo) {
  FrameLsns lsns(10, 10);
  lsns.StartUsing();
  lsns.RaisePage(kFrame, Lsn{7});
  lsns.RaisePage(kFrame, Lsn{3});
  EXPECT_EQ(lsns.page(kFrame), Lsn{7});
  lsns.RaisePage(kFrame, Lsn{8});
  EXPECT_EQ(lsns.page(kFrame), Lsn{8});
  EXPECT_EQ(lsns.first_dirty(kFrame), Lsn::kNone);
}

TEST(FrameLsnsTest, ForgetsAndMovesBoth) {
  FrameLsns lsns(5000, 5000);
  lsns.StartUsing();
  lsns.set_page(kFrame, Lsn{9});
  lsns.set_first_dirty(kFrame, Lsn{2});
  lsns.Move(kFrame, kOther);
  EXPECT_EQ(lsns.page(kOther), Lsn{9});
  EXPECT_EQ(lsns.first_dirty(kOther), Lsn{2});
  EXPECT_EQ(lsns.page(kFrame), Lsn::kNone);
  EXPECT_EQ(lsns.first_dirty(kFrame), Lsn::kNone);
  lsns.Reset(kOther);
  EXPECT_EQ(lsns.page(kOther), Lsn::kNone);
  EXPECT_EQ(lsns.first_dirty(kOther), Lsn::kNone);
}

TEST(FrameLsnsTest, TakesNoMemoryBeforeItIsUsed) {
  FrameLsns lsns(kMostFrames, kMostFrames);
  const auto reset_all = [&lsns] {
    for (uint32_t frame = 1; frame < kMostFrames; frame += 512) {
      lsns.Reset(FrameIndex{frame});
      lsns.Move(FrameIndex{frame}, FrameIndex{frame - 1});
    }
  };
  constexpr size_t kTableKib = kMostFrames * sizeof(uint64_t) / 1024;
  const size_t before_kib = tests::StatusKib("VmRSS");
  reset_all();
  EXPECT_LT(tests::StatusKib("VmRSS"), before_kib + kTableKib / 16);
  EXPECT_EQ(lsns.metadata_bytes(kMostFrames), 0u);
  lsns.StartUsing();
  EXPECT_EQ(lsns.metadata_bytes(10), 160u);
}

TEST(FrameLsnsTest, MakesRoomAndGivesItBack) {
  FrameLsns lsns(1, 5000);
  lsns.StartUsing();
  ASSERT_TRUE(lsns.MakeRoom(5000).ok());
  lsns.set_page(kFrame, Lsn{1});
  lsns.set_page(kOther, Lsn{2});
  lsns.set_first_dirty(kOther, Lsn{3});
  lsns.DiscardFrom(100);
  EXPECT_EQ(lsns.page(kFrame), Lsn{1});
  EXPECT_EQ(lsns.page(kOther), Lsn::kNone);
  EXPECT_EQ(lsns.first_dirty(kOther), Lsn::kNone);
}

}  // namespace
}  // namespace fixpool::storage
