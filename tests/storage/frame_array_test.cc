#include "fixpool/storage/frame_array.h"

#include <atomic>
#include <cstdint>

#include "gtest/gtest.h"

namespace fixpool::storage {
namespace {

constexpr uint32_t kMaxFrames = (1u << 26) - 1;

TEST(FrameArrayTest, BeginsWithZeros) {
  FrameArray<uint64_t> values(kMaxFrames);
  for (const uint32_t frame : {0u, 1u, 1000u, kMaxFrames - 1}) {
    EXPECT_EQ(values[FrameIndex{frame}], 0u);
  }
}

TEST(FrameArrayTest, MakesRoomInPlace) {
  FrameArray<uint64_t> values(3, kMaxFrames);
  uint64_t& first = values[FrameIndex{0}];
  first = 7;
  for (const uint32_t frames : {100u, 5000u, 4u, kMaxFrames}) {
    ASSERT_TRUE(values.MakeRoom(frames).ok());
    EXPECT_EQ(values[FrameIndex{frames - 1}], 0u);
    EXPECT_EQ(&values[FrameIndex{0}], &first);
    EXPECT_EQ(first, 7u);
  }
}

TEST(FrameArrayTest, DiscardsFromAnyPlaceOn) {
  for (const uint32_t end : {0u, 1u, 511u, 512u, 513u, 4095u, 4096u, 4999u, 5000u}) {
    FrameArray<uint64_t> values(5000);
    FrameArray<std::atomic<uint8_t>> bytes(5000);
    for (uint32_t i = 0; i < 5000; ++i) {
      values[FrameIndex{i}] = i + 1;
      bytes[FrameIndex{i}] = 1;
    }
    values.DiscardFrom(end);
    bytes.DiscardFrom(end);
    for (uint32_t i = 0; i < 5000; ++i) {
      ASSERT_EQ(values[FrameIndex{i}], i < end ? i + 1 : 0) << i << " of " << end;
      ASSERT_EQ(bytes[FrameIndex{i}], i < end ? 1 : 0) << i << " of " << end;
    }
  }
}

}  // namespace
}  // namespace fixpool::storage
