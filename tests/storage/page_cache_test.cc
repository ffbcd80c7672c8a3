// The page cache as its users see it, on the real kernel.

#include "fixpool/storage/page_cache.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "fixpool/io/error.h"
#include "gtest/gtest.h"
#include "tests/storage/level_fixture.h"

namespace fixpool::tests {
namespace {

using storage::CacheStats;
using storage::FileId;
using storage::PageCache;
using storage::PageId;
using storage::ReadGuard;
using storage::WriteGuard;

class PageCacheTest : public LevelTest {};
INSTANTIATE_TEST_SUITE_P(Levels, PageCacheTest, AllLevels(), LevelName);

TEST_P(PageCacheTest, WhatWasFlushedIsThereAfterReopening) {
  FIXPOOL_START_OR_SKIP(8);
  const std::string path = scratch_.File("data.db");
  file_ = *cache().OpenFile(path, {.create = true, .direct = io::File::DirectIo::kRequire});
  EXPECT_EQ(*cache().PageCount(file_), 0u);
  for (uint64_t page = 0; page < 40; ++page) {
    absl::StatusOr<WriteGuard> guard = cache().Write(Page(page));
    ASSERT_TRUE(guard.ok()) << guard.status();
    Put(*guard, PageText(page));
  }
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_TRUE(ReadWholeFile(path) == FileText(40));
  Stop();
  FIXPOOL_START_OR_SKIP(8);
  file_ = *cache().OpenFile(path, {.read_only = true});
  EXPECT_EQ(*cache().PageCount(file_), 40u);
  for (uint64_t page = 40; page-- > 0;) {
    const absl::StatusOr<ReadGuard> guard = cache().Read(Page(page));
    ASSERT_TRUE(guard.ok()) << guard.status();
    EXPECT_TRUE(Text(guard->bytes()) == PageText(page)) << page;
  }
}

TEST_P(PageCacheTest, SaysWhatItRunsOn) {
  FIXPOOL_START_OR_SKIP(8);
  EXPECT_EQ(cache().page_bytes(), kPageBytes);
  EXPECT_EQ(cache().frame_count(), 8u);
  const std::string text = cache().Describe();
  EXPECT_TRUE(absl::StrContains(text, "io: ")) << text;
  EXPECT_TRUE(absl::StrContains(text, "8 pages of 4 KiB")) << text;
  EXPECT_TRUE(absl::StrContains(text, "8 frames of 4096 bytes")) << text;
}

TEST_P(PageCacheTest, PagesOfOtherSizes) {
  for (const uint32_t page_bytes : {16384u, 65536u, 1u << 20}) {
    FIXPOOL_START_OR_SKIP(4, page_bytes);
    const std::string path = scratch_.File("data" + std::to_string(page_bytes));
    file_ = *cache().OpenFile(path, {.create = true});
    for (uint64_t page = 0; page < 6; ++page) {
      WriteGuard guard = *cache().Write(Page(page));
      Put(guard, PatternBytes(page, page_bytes));
    }
    ASSERT_TRUE(cache().CloseFile(file_).ok());
    file_ = *cache().OpenFile(path);
    for (uint64_t page = 0; page < 6; ++page) {
      EXPECT_TRUE(Text(cache().Read(Page(page))->bytes()) == PatternBytes(page, page_bytes));
    }
    Stop();
  }
}

TEST_P(PageCacheTest, SecondOpenIsRefused) {
  FIXPOOL_START_OR_SKIP(4);
  const std::string path = scratch_.MakeFile("data.db", FileText(2));
  file_ = *cache().OpenFile(path);
  // By the lock; by the cache, which has the file in it under another name; by both.
  EXPECT_EQ(cache().OpenFile(path).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(cache().OpenFile(path, {.read_only = true}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(cache().OpenFile(path, {.locking = io::File::Locking::kCaller}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  auto other = PageCache::Create({.memory_bytes = 1 << 20, .ladder = OrdinaryPages()});
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ((*other)->OpenFile(path).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE((*other)->OpenFile(path, {.read_only = true}).ok());
  // And what was refused has left nothing behind.
  EXPECT_TRUE(cache().Read(Page(1)).ok());
  ASSERT_TRUE(cache().CloseFile(file_).ok());
  EXPECT_TRUE(cache().OpenFile(path).ok());
}

TEST_P(PageCacheTest, OpenFileSaysWhatIsWrong) {
  FIXPOOL_START_OR_SKIP(4);
  EXPECT_EQ(cache().OpenFile(scratch_.File("none")).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(cache().OpenFile("").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(cache().OpenFile(scratch_.path()).status().code(), absl::StatusCode::kInvalidArgument);
  const std::string path = scratch_.MakeFile("data.db", "");
  EXPECT_EQ(cache().OpenFile(path, {.create = true, .read_only = true}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(cache().OpenFile(path, {.read_only = true, .preallocate_bytes = 1}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(cache().OpenFile(path, {.preallocate_bytes = ~uint64_t{0}}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(cache().OpenFile(path, {.preallocate_bytes = uint64_t{1} << 60}).ok());
  EXPECT_TRUE(cache().OpenFile(path).ok());
}

TEST_P(PageCacheTest, ReadOnlyFilesAreNotWritten) {
  FIXPOOL_START_OR_SKIP(4);
  file_ = *cache().OpenFile(scratch_.MakeFile("data.db", FileText(2)), {.read_only = true});
  EXPECT_EQ(cache().Write(Page(1)).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(cache().Make(Page(9)).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(cache().Read(Page(1)).ok());
  EXPECT_TRUE(cache().FlushAll().ok());
  EXPECT_TRUE(cache().CloseFile(file_).ok());
}

TEST_P(PageCacheTest, PreallocatedPagesExistAndAreZeros) {
  FIXPOOL_START_OR_SKIP(4);
  const std::string path = scratch_.File("data.db");
  absl::StatusOr<FileId> file =
      cache().OpenFile(path, {.create = true, .preallocate_bytes = 9 * kPageBytes + 1});
  if (absl::IsUnimplemented(file.status())) GTEST_SKIP() << file.status();
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(*cache().PageCount(*file), 10u);
  EXPECT_TRUE(Text(cache().Read({*file, 7})->bytes()) == std::string(kPageBytes, '\0'));
}

TEST_P(PageCacheTest, CloseFileFlushesAndForgets) {
  FIXPOOL_START_OR_SKIP(8);
  const std::string path = scratch_.MakeFile("data.db", FileText(4));
  file_ = *cache().OpenFile(path);
  const FileId other = *cache().OpenFile(scratch_.MakeFile("other.db", FileText(4)));
  {
    WriteGuard guard = *cache().Write(Page(3));
    Put(guard, PageText(3, 1));
  }
  ASSERT_TRUE(cache().Read({other, 3}).ok());
  ASSERT_TRUE(cache().CloseFile(file_).ok());
  EXPECT_EQ(cache().Stats().clean_frames, 1u);
  EXPECT_TRUE(ReadWholeFile(path).substr(3 * kPageBytes) == PageText(3, 1));
  EXPECT_EQ(cache().Read(Page(3)).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(cache().CloseFile(file_).code(), absl::StatusCode::kNotFound);
  // The slot is used again, the id is not.
  const FileId again = *cache().OpenFile(path);
  EXPECT_NE(again, file_);
  EXPECT_EQ(cache().Read(Page(3)).status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(Text(cache().Read({again, 3})->bytes()) == PageText(3, 1));
  EXPECT_TRUE(Text(cache().Read({other, 3})->bytes()) == PageText(3));
}

TEST_P(PageCacheTest, CloseFileCanDiscardChanges) {
  FIXPOOL_START_OR_SKIP(8);
  const std::string path = scratch_.MakeFile("data.db", FileText(2));
  file_ = *cache().OpenFile(path);
  {
    WriteGuard guard = *cache().Write(Page(1));
    Put(guard, PageText(1, 1));
  }
  ASSERT_TRUE(cache().CloseFile(file_, {.discard_changes = true}).ok());
  EXPECT_TRUE(ReadWholeFile(path) == FileText(2));
  EXPECT_EQ(cache().Stats().free_frames, 8u);
}

TEST_P(PageCacheTest, CloseFileRefusesWhileAGuardIsAlive) {
  FIXPOOL_START_OR_SKIP(8);
  file_ = *cache().OpenFile(scratch_.MakeFile("data.db", FileText(4)));
  ReadGuard guard = *cache().Read(Page(2));
  for (const bool discard : {false, true}) {
    const absl::Status status = cache().CloseFile(file_, {.discard_changes = discard});
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_TRUE(absl::StrContains(status.message(), "page 2 is held by a guard")) << status;
  }
  EXPECT_TRUE(cache().Read(Page(2)).ok());
  guard.Release();
  EXPECT_TRUE(cache().CloseFile(file_).ok());
}

TEST_P(PageCacheTest, CloseFileWaitsForPrefetchesInFlight) {
  FIXPOOL_START_OR_SKIP(32);
  const std::string path = scratch_.MakeFile("data.db", FileText(32));
  for (int round = 0; round < 5; ++round) {
    file_ = *cache().OpenFile(path);
    std::vector<PageId> pages;
    for (uint64_t page = 0; page < 32; ++page) pages.push_back(Page(page));
    ASSERT_TRUE(cache().Prefetch(pages).ok());
    ASSERT_TRUE(cache().CloseFile(file_).ok());
    EXPECT_EQ(cache().Stats().free_frames, 32u);
  }
}

TEST_P(PageCacheTest, TwoFilesDoNotMix) {
  FIXPOOL_START_OR_SKIP(4);
  const std::string paths[] = {scratch_.File("a.db"), scratch_.File("b.db")};
  FileId files[2];
  for (int i = 0; i < 2; ++i) files[i] = *cache().OpenFile(paths[i], {.create = true});
  for (uint64_t page = 0; page < 16; ++page) {
    for (int i = 0; i < 2; ++i) {
      WriteGuard guard = *cache().Write({files[i], page});
      Put(guard, PageText(page, 10 + i));
    }
  }
  ASSERT_TRUE(cache().FlushAll().ok());
  for (int i = 0; i < 2; ++i) {
    const std::string text = ReadWholeFile(paths[i]);
    for (uint64_t page = 0; page < 16; ++page) {
      EXPECT_TRUE(text.substr(page * kPageBytes, kPageBytes) == PageText(page, 10 + i));
      EXPECT_TRUE(Text(cache().Read({files[i], page})->bytes()) == PageText(page, 10 + i));
    }
  }
}

TEST_P(PageCacheTest, BufferedFilesWorkToo) {
  FIXPOOL_START_OR_SKIP(4);
  const std::string path = scratch_.MakeFile("data.db", FileText(3).substr(0, 10000));
  file_ = *cache().OpenFile(path, {.direct = io::File::DirectIo::kNever});
  {
    WriteGuard guard = *cache().Write(Page(0));
    Put(guard, PageText(0, 1));
  }
  EXPECT_TRUE(Text(cache().Read(Page(2))->bytes()).substr(0, 1808) == PageText(2).substr(0, 1808));
  ASSERT_TRUE(cache().CloseFile(file_).ok());
  EXPECT_TRUE(ReadWholeFile(path).substr(0, kPageBytes) == PageText(0, 1));
  EXPECT_EQ(ReadWholeFile(path).size(), 10000u);
}

TEST_P(PageCacheTest, ReaderProgressesThoughTheSubmitterSleeps) {
  FIXPOOL_START_OR_SKIP(64);
  file_ = *cache().OpenFile(scratch_.MakeFile("data.db", FileText(32)));
  std::atomic<uint32_t> stage{0};
  std::thread submitter([&] {
    std::vector<PageId> pages;
    for (uint64_t page = 0; page < 32; ++page) pages.push_back(Page(page));
    EXPECT_TRUE(cache().Prefetch(pages).ok());
    stage = 1;
    stage.notify_all();
    stage.wait(1);
  });
  stage.wait(0);
  for (uint64_t page = 0; page < 32; ++page) {
    const absl::StatusOr<ReadGuard> guard = cache().Read(Page(page));
    ASSERT_TRUE(guard.ok()) << guard.status();
    EXPECT_TRUE(Text(guard->bytes()) == PageText(page));
  }
  EXPECT_EQ(cache().Stats().reads, 32u);
  stage = 2;
  stage.notify_all();
  submitter.join();
}

TEST_P(PageCacheTest, WriteThatTheDiskRefusesIsReportedByFlush) {
  FIXPOOL_START_OR_SKIP(4);
  // A file that cannot grow: the limit is that of the process, and its signal must not kill.
  std::signal(SIGXFSZ, SIG_IGN);
  const std::string path = scratch_.MakeFile("data.db", FileText(2));
  file_ = *cache().OpenFile(path);
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit low = before;
  low.rlim_cur = 2 * kPageBytes;
  {
    WriteGuard guard = *cache().Make(Page(2));
    Put(guard, PageText(2));
  }
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &low), 0);
  const absl::Status failed = cache().Flush(file_);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_EQ(io::ErrnoOf(failed), EFBIG) << failed;
  EXPECT_TRUE(Text(cache().Read(Page(2))->bytes()) == PageText(2));
  EXPECT_TRUE(cache().Flush(file_).ok());
  EXPECT_TRUE(ReadWholeFile(path) == FileText(3));
}

TEST(PageCacheCreateTest, SaysWhatIsWrong) {
  using Options = PageCache::Options;
  const auto code = [](Options options) { return PageCache::Create(options).status().code(); };
  EXPECT_EQ(code({.page_bytes = 5000}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.page_bytes = 512}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.memory_bytes = 0}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.engine = {.depth = 0}}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.engine = {.require = io::EngineLevel::kThreads}, .require_fixed = true}),
            absl::StatusCode::kInvalidArgument);
}

TEST(PageCacheCreateTest, RequireFixedGivesFixedBuffersOrAnError) {
  auto cache = PageCache::Create(
      {.memory_bytes = 1 << 20, .ladder = OrdinaryPages(), .require_fixed = true});
  if (!cache.ok()) GTEST_SKIP() << cache.status();
  EXPECT_TRUE(absl::StrContains((*cache)->Describe(), "fixed")) << (*cache)->Describe();
}

TEST(PageCacheCreateTest, PartsOfTheCallerAreGivenBack) {
  auto registry = *io::FixedBufferRegistry::Create({});
  auto arena = *arena::PageArena::Create(
      registry.get(), {.size_bytes = 64 * kPageBytes, .ladder = OrdinaryPages()});
  FakeEngine engine(registry.get(), {});
  EXPECT_EQ(PageCache::Create(nullptr, &engine).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(PageCache::Create(arena.get(), nullptr).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(PageCache::Create(arena.get(), &engine, {.frame_count = 65}).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(arena->free_count(), 64u);
  {
    auto some = *PageCache::Create(arena.get(), &engine, {.frame_count = 10});
    EXPECT_EQ(some->frame_count(), 10u);
    EXPECT_EQ(arena->free_count(), 54u);
  }
  {
    auto all = *PageCache::Create(arena.get(), &engine);
    EXPECT_EQ(all->frame_count(), 64u);
    EXPECT_EQ(PageCache::Create(arena.get(), &engine).status().code(),
              absl::StatusCode::kResourceExhausted);
  }
  EXPECT_EQ(arena->free_count(), 64u);
}

// The tables of a cache that pages come and go in: less than 40 bytes a frame, and words.
TEST(PageCacheCreateTest, TablesAreSmall) {
  constexpr size_t kFrames = 1 << 14;
  auto cache =
      *PageCache::Create({.memory_bytes = kFrames * kPageBytes, .ladder = OrdinaryPages()});
  ASSERT_EQ(cache->frame_count(), kFrames);
  ScratchDirectory scratch;
  const FileId file = *cache->OpenFile(scratch.path() + "/data.db", {.create = true});
  EXPECT_EQ(cache->Stats().word_bytes, 0u);
  // More than there are frames for, in one stretch of the file after the other.
  constexpr uint64_t kPages = kFrames + kFrames / 8;
  for (uint64_t page = 0; page < kPages; ++page) {
    ASSERT_TRUE(cache->Make({file, page}).ok());
    // So that an eviction need not wait for the disk.
    if (page % 4096 == 4095) {
      ASSERT_TRUE(cache->Flush(file).ok());
    }
  }
  for (uint64_t page = 0; page < kPages; page += 7) ASSERT_TRUE(cache->Read({file, page}).ok());
  const CacheStats stats = cache->Stats();
  EXPECT_GE(stats.evictions, kPages - kFrames);
  EXPECT_GE(stats.word_bytes, kFrames * 8);
  EXPECT_LE(stats.word_bytes, kPages * 8);
  EXPECT_LE(stats.metadata_bytes - stats.word_bytes, kFrames * 40) << stats.ToString();
  EXPECT_GT(stats.metadata_bytes - stats.word_bytes, kFrames * 32) << stats.ToString();
  ASSERT_TRUE(cache->CloseFile(file).ok());
  EXPECT_EQ(cache->Stats().word_bytes, 0u);
  // Nor does closing a file take any for each of its pages.
  EXPECT_LE(cache->Stats().metadata_bytes, kFrames * 40) << stats.ToString();
}

TEST(PageCacheCreateTest, PageSmallerThanTheBlocksOfTheDiskIsRefused) {
  // No such disk at hand: what is tested is that the check agrees with File::alignment().
  ScratchDirectory scratch;
  const std::string path = scratch.MakeFile("data.db", FileText(1));
  auto file = *io::File::Open(path);
  const uint32_t needs = std::max(file->alignment().offset_bytes, file->alignment().memory_bytes);
  file.reset();
  auto cache = *PageCache::Create({.memory_bytes = 1 << 20, .ladder = OrdinaryPages()});
  EXPECT_EQ(cache->OpenFile(path).ok(), kPageBytes % needs == 0);
}

// The largest file that ext4 can have.
TEST_P(PageCacheTest, SparseFileOfSixteenTebibytesOpens) {
  FIXPOOL_START_OR_SKIP(4);
  const std::string path = scratch_.MakeFile("data.db", "");
  constexpr off_t kSizeBytes = (off_t{16} << 40) - 4096;
  if (truncate(path.c_str(), kSizeBytes) != 0) {
    GTEST_SKIP() << "this file system has no files of 16 TiB: " << std::strerror(errno);
  }
  file_ = *cache().OpenFile(path);
  const uint64_t last = kSizeBytes / kPageBytes - 1;
  EXPECT_EQ(*cache().PageCount(file_), last + 1);
  for (const uint64_t page : {last, uint64_t{0}, last / 2}) {
    const absl::StatusOr<ReadGuard> guard = cache().Read(Page(page));
    ASSERT_TRUE(guard.ok()) << guard.status();
    EXPECT_EQ(guard->bytes()[kPageBytes - 1], std::byte{0});
  }
  EXPECT_EQ(cache().Read(Page(last + 1)).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_TRUE(cache().Read(Page(last)).ok());
  EXPECT_EQ(cache().Stats().hits, 1u);
}

}  // namespace
}  // namespace fixpool::tests
