#include <algorithm>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "fixpool/storage/file_options.h"
#include "fixpool/storage/page_cache.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/storage/level_fixture.h"
#include "tests/storage/sealed_files.h"
#include "tests/support/seed.h"
#include "tests/support/xfs.h"

// Protection from torn pages on the real kernel, with the cache's own thread and with several of
// the user's.

namespace fixpool::tests {
namespace {

using storage::CacheStats;
using storage::FileId;
using storage::FileOptions;
using storage::TornPageProtection;
using storage::WriteGuard;
using ::testing::HasSubstr;

class TornPagesLevelsTest : public LevelTest {
 protected:
  FileOptions Protected(TornPageProtection protection = TornPageProtection::kDoubleWrite) {
    FileOptions options = Sealed();
    options.torn_pages = protection;
    options.double_write_bytes = 256 << 10;
    return options;
  }
  void PutPage(FileId file, uint64_t page, uint64_t version) {
    absl::StatusOr<WriteGuard> guard = cache().Write({file, page});
    ASSERT_TRUE(guard.ok()) << guard.status();
    Put(*guard, Payload(page, version));
  }
  void ExpectPage(FileId file, uint64_t page, uint64_t version) {
    const auto guard = cache().Read({file, page});
    ASSERT_TRUE(guard.ok()) << guard.status();
    EXPECT_TRUE(Text(guard->bytes()) == Payload(page, version)) << "page " << page;
  }
  std::string path(const std::string& name = "data.db") const { return scratch_.File(name); }
};
INSTANTIATE_TEST_SUITE_P(Levels, TornPagesLevelsTest, AllLevels(), LevelName);

TEST_P(TornPagesLevelsTest, TornPagesComeBackFromTheirCopies) {
  FIXPOOL_START_OR_SKIP(64);
  file_ = *cache().OpenFile(path(), Protected());
  constexpr uint64_t kPages = 400;
  for (uint64_t page = 0; page < kPages; ++page) PutPage(file_, page, 1);
  ASSERT_TRUE(cache().Flush(file_).ok());
  for (uint64_t page = 0; page < 40; ++page) PutPage(file_, page, 2);
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_GE(cache().Stats().double_writes, cache().Stats().writes);
  EXPECT_THAT(cache().Describe(), HasSubstr("double writes in " + path() + ".double_write"));
  Stop();  // with the file open
  // The last batch at least is as it would be after a crash in the middle of its writes.
  for (uint64_t page = 30; page < 40; ++page) {
    PutOnDisk(path(), page * kPageBytes + 512, std::string(1024, 'x'));
  }
  FIXPOOL_START_OR_SKIP(64);
  file_ = *cache().OpenFile(path(), Protected());
  EXPECT_EQ(cache().Stats().pages_recovered, 10u);
  for (uint64_t page = 0; page < kPages; ++page) ExpectPage(file_, page, page < 40 ? 2 : 1);
  ASSERT_TRUE(cache().CloseFile(file_).ok());
}

// What is changed is many times what there is memory for, so the cache's thread writes all the
// time, and those who want frames wait for it.
TEST_P(TornPagesLevelsTest, ThreadsOnSeveralFilesWithLittleMemory) {
  const uint64_t seed = Seed();
  for (const uint32_t free_frames : {0u, 8u}) {
    free_frames_ = free_frames;
    FIXPOOL_START_OR_SKIP(64);
    std::vector<FileId> files;
    for (const std::string name : {"one", "two"}) {
      files.push_back(*cache().OpenFile(path(name + std::to_string(free_frames)), Protected()));
    }
    constexpr uint64_t kPages = 200;
    const auto work = [&](FileId file, uint64_t half) {
      std::mt19937_64 random(seed + half);
      for (uint64_t page = half; page < kPages; page += 2) PutPage(file, page, 0);
      std::vector<uint64_t> versions(kPages);
      for (int i = 0; i < 600; ++i) {
        const uint64_t page = random() % (kPages / 2) * 2 + half;
        if (random() % 3 == 0) {
          ExpectPage(file, page, versions[page]);
        } else {
          PutPage(file, page, ++versions[page]);
        }
        if (random() % 100 == 0) {
          EXPECT_TRUE(cache().Flush(file).ok());
        }
      }
      for (uint64_t page = half; page < kPages; page += 2) ExpectPage(file, page, versions[page]);
    };
    std::vector<std::thread> threads;
    for (const FileId file : files) {
      for (const uint64_t half : {0, 1}) threads.emplace_back(work, file, half);
    }
    for (std::thread& thread : threads) thread.join();
    for (const FileId file : files) {
      const absl::Status closed = cache().CloseFile(file);
      EXPECT_TRUE(closed.ok()) << closed;
    }
    const CacheStats stats = cache().Stats();
    EXPECT_GE(stats.double_writes, stats.writes);
    EXPECT_GT(stats.writes, 0u);
    Stop();
  }
}

TEST_P(TornPagesLevelsTest, BestIsAtomicWritesOnAnXfs) {
  const Xfs xfs(scratch_.path());
  if (!xfs.works()) GTEST_SKIP() << xfs.why_not();
  FIXPOOL_START_OR_SKIP(32);
  const std::string file_path = xfs.path() + "/data.db";
  const auto opened = cache().OpenFile(file_path, Protected(TornPageProtection::kBest));
  ASSERT_TRUE(opened.ok()) << opened.status();
  file_ = *opened;
  if (*cache().ProtectionOf(file_) != TornPageProtection::kAtomic) {
    Stop();
    GTEST_SKIP() << "this kernel's XFS has no atomic writes on a loop device (Linux 6.16 has)";
  }
  for (uint64_t page = 0; page < 100; ++page) PutPage(file_, page, 3);
  absl::Status status = cache().CloseFile(file_);
  EXPECT_TRUE(status.ok()) << status;
  file_ = *cache().OpenFile(file_path, Protected(TornPageProtection::kAtomic));
  for (uint64_t page = 0; page < 100; ++page) ExpectPage(file_, page, 3);
  const CacheStats stats = cache().Stats();
  EXPECT_EQ(stats.joined_writes, 0u);
  EXPECT_EQ(stats.double_writes, 0u);
  EXPECT_EQ(stats.write_errors, 0u);
  Stop();
}

TEST_P(TornPagesLevelsTest, BestIsDoubleWritesElsewhere) {
  FIXPOOL_START_OR_SKIP(32);
  FileOptions options = Protected(TornPageProtection::kBest);
  options.direct = io::File::DirectIo::kNever;  // and so without atomic writes
  file_ = *cache().OpenFile(path(), options);
  EXPECT_EQ(*cache().ProtectionOf(file_), TornPageProtection::kDoubleWrite);
  PutPage(file_, 0, 1);
  EXPECT_TRUE(cache().Flush(file_).ok());
  options.torn_pages = TornPageProtection::kAtomic;
  const absl::Status atomic = cache().OpenFile(path("other"), options).status();
  EXPECT_TRUE(absl::IsUnimplemented(atomic)) << atomic;
}

}  // namespace
}  // namespace fixpool::tests
