#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "fixpool/io/file.h"
#include "fixpool/storage/page_cache.h"
#include "gtest/gtest.h"
#include "tests/storage/cache_fixture.h"
#include "tests/storage/level_fixture.h"
#include "tests/support/loop_device.h"
#include "tests/support/scratch.h"

// A cache whose file is a block device.

namespace fixpool::tests {
namespace {

using storage::FileId;
using storage::ReadGuard;
using storage::WriteGuard;

class PageCacheBlockDeviceTest : public LevelTest {
 protected:
  static constexpr uint32_t kFrames = 8;
  static constexpr uint64_t kPages = 4 * kFrames;

  // A cache and a device over `bytes`, or a skipped test.
  void StartOn(const std::string& bytes) {
    Start(kFrames);
    if (IsSkipped()) return;
    loop_ = std::make_unique<LoopDevice>(scratch_.MakeFile("backing", bytes));
    if (!loop_->works()) GTEST_SKIP() << loop_->why_not();
    const absl::StatusOr<FileId> file =
        cache().OpenFile(loop_->path(), {.direct = io::File::DirectIo::kRequire});
    ASSERT_TRUE(file.ok()) << file.status();
    file_ = *file;
  }

  std::unique_ptr<LoopDevice> loop_;
};

#define FIXPOOL_START_ON_OR_SKIP(...)        \
  do {                                       \
    StartOn(__VA_ARGS__);                    \
    if (IsSkipped() || HasFailure()) return; \
  } while (false)

INSTANTIATE_TEST_SUITE_P(Levels, PageCacheBlockDeviceTest, AllLevels(), LevelName);

TEST_P(PageCacheBlockDeviceTest, WhatWasFlushedIsOnTheDevice) {
  FIXPOOL_START_ON_OR_SKIP(FileText(kPages));
  EXPECT_EQ(*cache().PageCount(file_), kPages);
  for (uint64_t page = 0; page < kPages; ++page) {
    const absl::StatusOr<ReadGuard> guard = cache().Read(Page(page));
    ASSERT_TRUE(guard.ok()) << guard.status();
    EXPECT_TRUE(Text(guard->bytes()) == PageText(page)) << page;
  }
  std::string expected;
  for (uint64_t page = 0; page < kPages; ++page) {
    absl::StatusOr<WriteGuard> guard = cache().Write(Page(page));
    ASSERT_TRUE(guard.ok()) << guard.status();
    Put(*guard, PageText(page, 1));
    expected += PageText(page, 1);
  }
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_TRUE(ReadWholeFile(scratch_.File("backing")) == expected);
}

TEST_P(PageCacheBlockDeviceTest, DeviceDoesNotGrow) {
  FIXPOOL_START_ON_OR_SKIP(FileText(kPages));
  EXPECT_TRUE(absl::IsOutOfRange(cache().Read(Page(kPages)).status()));
  EXPECT_TRUE(absl::IsOutOfRange(cache().Write(Page(kPages)).status()));
  EXPECT_TRUE(absl::IsOutOfRange(cache().Make(Page(kPages)).status()));
  EXPECT_EQ(*cache().PageCount(file_), kPages);
}

// The rest of a device behind its last whole page could be read but not written.
TEST_P(PageCacheBlockDeviceTest, LastPieceThatIsNoPageIsLeftAlone) {
  FIXPOOL_START_ON_OR_SKIP(FileText(kPages) + std::string(kPageBytes / 2, 'r'));
  EXPECT_EQ(*cache().PageCount(file_), kPages);
  {
    absl::StatusOr<WriteGuard> guard = cache().Write(Page(kPages - 1));
    ASSERT_TRUE(guard.ok()) << guard.status();
    Put(*guard, PageText(kPages - 1, 1));
  }
  ASSERT_TRUE(cache().CloseFile(file_).ok());
  EXPECT_TRUE(ReadWholeFile(scratch_.File("backing")).substr((kPages - 1) * kPageBytes) ==
              PageText(kPages - 1, 1) + std::string(kPageBytes / 2, 'r'));
}

TEST_P(PageCacheBlockDeviceTest, SecondWriterIsRefused) {
  FIXPOOL_START_ON_OR_SKIP(FileText(kPages));
  EXPECT_TRUE(absl::IsFailedPrecondition(
      io::File::Open(loop_->path(), {.lock_timeout = absl::ZeroDuration()}).status()));
  ASSERT_TRUE(cache().CloseFile(file_).ok());
  EXPECT_TRUE(io::File::Open(loop_->path()).ok());
}

}  // namespace
}  // namespace fixpool::tests
