// What a process finds in a file that another one changed until it was killed. Only the process
// dies, so this says what has reached the kernel, and not what has reached the disk.

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/storage/page_cache.h"
#include "gtest/gtest.h"
#include "tests/storage/level_fixture.h"
#include "tests/support/scratch.h"
#include "tests/support/seed.h"

namespace fixpool::tests {
namespace {

using storage::FileId;
using storage::PageCache;
using storage::ReadGuard;
using storage::WriteGuard;

constexpr uint64_t kPages = 48;
constexpr uint64_t kKept = 24;  // of these, after a truncation
constexpr uint64_t kFreed = 4;  // the first
constexpr uint32_t kFrames = 16;
constexpr int kSkippedCode = 77;
constexpr int kKills = 8;

// How far the child has come: a round is one of each, in this order, and each is told of when its
// call has returned OK.
enum Step : uint32_t { kNothing, kFlushed, kTruncated, kFreedAndFlushed };
struct Progress {
  uint32_t round = 0;  // from 1; its number is the version of all pages written in it
  Step step = kNothing;
};

// The child's work; never returns. Nothing of gtest's, which is the parent's.
[[noreturn]] void WorkUntilKilled(const std::string& path, io::EngineLevel level,
                                  uint32_t first_round, int pipe) {
  absl::StatusOr<std::unique_ptr<PageCache>> cache =
      PageCache::Create({.memory_bytes = size_t{kFrames} * kPageBytes,
                         .ladder = OrdinaryPages(),
                         .engine = {.depth = 32, .require = level}});
  if (!cache.ok()) _exit(kSkippedCode);
  const absl::StatusOr<FileId> file = (*cache)->OpenFile(path, {.create = true});
  if (!file.ok()) _exit(1);
  const auto tell = [pipe](uint32_t round, Step step) {
    const Progress progress{round, step};
    if (write(pipe, &progress, sizeof(progress)) != sizeof(progress)) _exit(1);
  };
  for (uint32_t round = first_round;; ++round) {
    for (uint64_t page = 0; page < kPages; ++page) {
      absl::StatusOr<WriteGuard> guard = (*cache)->Write({*file, page});
      if (!guard.ok()) _exit(1);
      const std::string text = PageText(page, round);
      std::memcpy(guard->mutable_bytes().data(), text.data(), text.size());
    }
    if (!(*cache)->Flush(*file).ok()) _exit(1);
    tell(round, kFlushed);
    if (!(*cache)->Truncate(*file, kKept).ok()) _exit(1);
    tell(round, kTruncated);
    if (!(*cache)->FreePages(*file, 0, kFreed).ok() || !(*cache)->Flush(*file).ok()) _exit(1);
    tell(round, kFreedAndFlushed);
  }
}

class PageCacheReopenTest : public LevelTest {
 protected:
  // Kills a child after it has told of `count` steps and a little more. The last that it told of.
  void KillAfter(int count, useconds_t more_us, Progress& last) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      close(ends[0]);
      WorkUntilKilled(Path(), GetParam(), last.round + 1, ends[1]);
    }
    close(ends[1]);
    Progress told;
    for (int i = 0; i < count && read(ends[0], &told, sizeof(told)) == sizeof(told); ++i) {
      last = told;
    }
    usleep(more_us);
    kill(child, SIGKILL);
    while (read(ends[0], &told, sizeof(told)) == sizeof(told)) last = told;
    close(ends[0]);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == kSkippedCode) {
      GTEST_SKIP() << "there is no engine of this level here";
    }
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child failed with " << WEXITSTATUS(status);
  }

  std::string Path() const { return scratch_.File("data.db"); }

  // The page is of this version, or of the next round, which was on its way.
  void ExpectPage(uint64_t page, const Progress& last, bool zeros_too) {
    const absl::StatusOr<ReadGuard> guard = cache().Read(Page(page));
    ASSERT_TRUE(guard.ok()) << guard.status();
    const std::string text = Text(guard->bytes());
    const bool next = last.step == kFreedAndFlushed && text == PageText(page, last.round + 1);
    const bool zeros = zeros_too && text == std::string(kPageBytes, '\0');
    const bool must_be_zeros = last.step == kFreedAndFlushed && (page < kFreed || page >= kKept);
    EXPECT_TRUE(next || zeros || (!must_be_zeros && text == PageText(page, last.round)))
        << "page " << page << " after step " << last.step << " of round " << last.round;
  }

  void ExpectWhatWasTold(const Progress& last) {
    FIXPOOL_START_OR_SKIP(kFrames);
    file_ = *cache().OpenFile(Path());
    const uint64_t pages = *cache().PageCount(file_);
    if (last.step == kFlushed) {
      EXPECT_TRUE(pages == kPages || pages == kKept) << pages;
    } else if (last.step == kTruncated) {
      EXPECT_EQ(pages, kKept);
    } else {
      EXPECT_GE(pages, kKept);
    }
    for (uint64_t page = 0; page < pages; ++page) {
      const bool may_be_freed = page < kFreed && last.step != kFlushed;
      const bool may_be_new = page >= kKept && last.step == kFreedAndFlushed;
      ExpectPage(page, last, may_be_freed || may_be_new);
    }
    ASSERT_TRUE(cache().CloseFile(file_).ok());
    Stop();
  }
};

INSTANTIATE_TEST_SUITE_P(Levels, PageCacheReopenTest, AllLevels(), LevelName);

TEST_P(PageCacheReopenTest, WhatWasFlushedTruncatedAndFreedBeforeTheKillIsSo) {
  std::mt19937_64 random(Seed());
  Progress last;
  for (int i = 0; i < kKills; ++i) {
    KillAfter(1 + static_cast<int>(random() % 6), random() % 3000, last);
    if (IsSkipped() || HasFailure()) return;
    ExpectWhatWasTold(last);
    if (IsSkipped() || HasFailure()) return;
  }
}

}  // namespace
}  // namespace fixpool::tests
