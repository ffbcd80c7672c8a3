#include "fixpool/storage/coroutine_frames.h"

#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "fixpool/io/sanitizer.h"
#include "gtest/gtest.h"

namespace fixpool::storage {
namespace {

TEST(CoroutineFramesTest, RefusesFiguresThatMakeNoSense) {
  for (const CoroutineFrames::Options& options :
       {CoroutineFrames::Options{.frame_count = 0}, CoroutineFrames::Options{.frame_bytes = 0},
        CoroutineFrames::Options{.frame_count = UINT32_MAX},
        CoroutineFrames::Options{.frame_count = 2, .frame_bytes = SIZE_MAX / 4},
        CoroutineFrames::Options{.frame_bytes = SIZE_MAX}}) {
    EXPECT_EQ(CoroutineFrames::Create(options).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(CoroutineFramesTest, RefusesWhatThereIsNoMemoryFor) {
#if defined(FIXPOOL_INTERNAL_ASAN) || defined(FIXPOOL_INTERNAL_TSAN)
  GTEST_SKIP() << "a sanitizer ends a program that allocates this much";
#endif
  EXPECT_EQ(CoroutineFrames::Create({.frame_count = 1000, .frame_bytes = SIZE_MAX / 4000})
                .status()
                .code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(CoroutineFramesTest, GivesEachFrameOnceAlignedAndWritable) {
  const auto frames = CoroutineFrames::Create({.frame_count = 10, .frame_bytes = 100}).value();
  std::set<void*> all;
  for (int i = 0; i < 10; ++i) {
    void* frame = frames->Allocate(100);
    ASSERT_NE(frame, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(frame) % 16, 0u);
    std::memset(frame, 0xab, 100);
    EXPECT_TRUE(all.insert(frame).second);
  }
  EXPECT_EQ(frames->CountFree(), 0u);
  EXPECT_EQ(frames->Allocate(1), nullptr);
  for (void* frame : all) CoroutineFrames::Free(frame);
  EXPECT_EQ(frames->CountFree(), 10u);
}

TEST(CoroutineFramesTest, SaysThatAllAreInUse) {
  const auto frames = CoroutineFrames::Create({.frame_count = 1, .frame_bytes = 100}).value();
  void* frame = frames->Allocate(100);
  EXPECT_EQ(frames->Allocate(77), nullptr);
  const absl::Status status = CoroutineFrames::LastRefusal();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(std::string(status.message()).find("all 1 "), std::string::npos) << status;
  EXPECT_NE(std::string(status.message()).find("77 bytes"), std::string::npos) << status;
  CoroutineFrames::Free(frame);
}

TEST(CoroutineFramesTest, SaysThatAFrameIsTooLarge) {
  const auto frames = CoroutineFrames::Create({.frame_count = 1, .frame_bytes = 100}).value();
  EXPECT_EQ(frames->Allocate(101), nullptr);
  const absl::Status status = CoroutineFrames::LastRefusal();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(status.message()).find("101"), std::string::npos) << status;
  EXPECT_NE(std::string(status.message()).find("100"), std::string::npos) << status;
}

TEST(CoroutineFramesTest, HasNothingToSayOnAThreadThatWasNotRefused) {
  std::thread([] { EXPECT_TRUE(CoroutineFrames::LastRefusal().ok()); }).join();
}

TEST(CoroutineFramesDeathTest, ChecksThatAllFramesAreBack) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        auto frames = CoroutineFrames::Create({.frame_count = 3}).value();
        (void)frames->Allocate(1);
        frames.reset();
      },
      "1 tasks outlive");
}

// Each thread writes its number into what it has, and finds it there again.
TEST(CoroutineFramesTest, ThreadsNeverShareAFrame) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 20'000;
  const auto frames = CoroutineFrames::Create({.frame_count = 6, .frame_bytes = 64}).value();
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int number = 0; number < kThreads; ++number) {
    threads.emplace_back([&, number] {
      void* held[2] = {};
      for (int round = 0; round < kRounds; ++round) {
        for (void*& frame : held) {
          frame = frames->Allocate(64);
          if (frame != nullptr) std::memset(frame, number, 64);
        }
        for (void* frame : held) {
          if (frame == nullptr) continue;
          const char* bytes = static_cast<const char*>(frame);
          if (bytes[0] != number || bytes[63] != number) wrong.fetch_add(1);
          CoroutineFrames::Free(frame);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
  EXPECT_EQ(frames->CountFree(), 6u);
}

TEST(CoroutineFramesTest, TakesBackWhatAnotherThreadAllocated) {
  const auto frames = CoroutineFrames::Create({.frame_count = 2}).value();
  void* frame = frames->Allocate(8);
  std::thread([frame] { CoroutineFrames::Free(frame); }).join();
  EXPECT_EQ(frames->CountFree(), 2u);
}

}  // namespace
}  // namespace fixpool::storage
