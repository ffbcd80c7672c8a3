#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "fixpool/io/file.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"
#include "gtest/gtest.h"
#include "tests/io/engine_fixture.h"
#include "tests/support/loop_device.h"
#include "tests/support/scratch.h"

// Engines on a block device, which has an end that does not move.

namespace fixpool::io {
namespace {

using ::fixpool::tests::LoopDevice;
using ::fixpool::tests::PatternBytes;
using ::fixpool::tests::ReadWholeFile;
using ::fixpool::tests::ScratchMemory;

class BlockDeviceTest : public tests::EngineFixture,
                        public ::testing::WithParamInterface<EngineLevel> {
 protected:
  static constexpr size_t kPages = 16;

  void SetUp() override {
    if (!OpenAt(GetParam())) GTEST_SKIP() << why_not_;
  }

  // The device over `bytes` as a file of the engine, or a skipped test.
  void StartOn(const std::string& bytes, uint32_t block_bytes = 512) {
    loop_ = std::make_unique<LoopDevice>(scratch_.MakeFile("backing", bytes), block_bytes);
    if (!loop_->works()) GTEST_SKIP() << loop_->why_not();
    const auto device = File::Open(loop_->path(), {.direct = File::DirectIo::kRequire});
    ASSERT_TRUE(device.ok()) << device.status();
    device_ = *device;
    handle_ = Add(device_);
  }

  std::unique_ptr<LoopDevice> loop_;
  std::shared_ptr<File> device_;
  FileHandle handle_;
};

#define FIXPOOL_START_OR_SKIP(...)           \
  do {                                       \
    StartOn(__VA_ARGS__);                    \
    if (IsSkipped() || HasFailure()) return; \
  } while (false)

INSTANTIATE_TEST_SUITE_P(AllLevels, BlockDeviceTest,
                         ::testing::Values(EngineLevel::kUringFixed, EngineLevel::kUringPlain,
                                           EngineLevel::kThreads),
                         [](const auto& info) { return std::string(EngineLevelName(info.param)); });

TEST_P(BlockDeviceTest, ReadsAndWritesAtTheEnginesLevel) {
  const std::string old_bytes = PatternBytes(1, kPages * kPage);
  FIXPOOL_START_OR_SKIP(old_bytes);
  EXPECT_EQ(*engine_->LevelOf(handle_), GetParam());
  ScratchMemory memory(2 * kPages * kPage);
  Registration registration = Register(memory);
  const IoCompletion read = Do(Read(handle_, registration.id(), memory.base(), kPages * kPage, 0));
  ASSERT_TRUE(read.status.ok()) << read.status;
  EXPECT_TRUE(std::string(memory.chars(), old_bytes.size()) == old_bytes);

  const std::string new_bytes = PatternBytes(2, kPages * kPage);
  std::memcpy(memory.chars(kPages * kPage), new_bytes.data(), new_bytes.size());
  std::vector<IoRequest> writes;
  for (size_t i = 0; i < kPages; ++i) {
    writes.push_back(
        Write(handle_, registration.id(), memory.at((kPages + i) * kPage), kPage, i * kPage, i));
  }
  SubmitAll(writes);
  for (const auto& [page, completion] : ReapCount(kPages)) {
    EXPECT_TRUE(completion.status.ok()) << page << ": " << completion.status;
    EXPECT_EQ(completion.transferred_bytes, kPage);
  }
  EXPECT_TRUE(Do(Sync(handle_)).status.ok());
  EXPECT_TRUE(ReadWholeFile(scratch_.File("backing")) == new_bytes);
  const uint64_t fixed = engine_->Report().counters.fixed_transfers;
  EXPECT_EQ(fixed, GetParam() == EngineLevel::kUringFixed ? kPages + 1 : 0);
}

TEST_P(BlockDeviceTest, EndsWhereItEnds) {
  FIXPOOL_START_OR_SKIP(PatternBytes(3, kPages * kPage));
  ScratchMemory memory(2 * kPage);
  Registration registration = Register(memory);
  const uint64_t last = (kPages - 1) * kPage;
  const IoCompletion across = Do(Read(handle_, registration.id(), memory.base(), 2 * kPage, last));
  EXPECT_TRUE(across.status.ok()) << across.status;
  EXPECT_EQ(across.transferred_bytes, kPage);
  EXPECT_TRUE(std::string(memory.chars(), kPage) == PatternBytes(3, kPages * kPage).substr(last));
  const IoCompletion past =
      Do(Read(handle_, registration.id(), memory.base(), kPage, last + kPage));
  EXPECT_TRUE(past.status.ok()) << past.status;
  EXPECT_EQ(past.transferred_bytes, 0u);
  EXPECT_FALSE(
      Do(Write(handle_, registration.id(), memory.base(), kPage, last + kPage)).status.ok());
  EXPECT_EQ(*device_->SizeBytes(), kPages * kPage);
}

TEST_P(BlockDeviceTest, WhatIsNoWholeBlockIsRefusedBeforeTheKernelSeesIt) {
  FIXPOOL_START_OR_SKIP(PatternBytes(4, kPages * kPage), 4096);
  ScratchMemory memory(kPage);
  Registration registration = Register(memory);
  EXPECT_EQ(device_->alignment().offset_bytes % 4096, 0u);
  const SubmitResult refused = Submit(Read(handle_, registration.id(), memory.base(), 512, 0));
  EXPECT_TRUE(absl::IsInvalidArgument(refused.status)) << refused.status;
  EXPECT_EQ(engine_->Report().counters.failed, 0u);
}

}  // namespace
}  // namespace fixpool::io
