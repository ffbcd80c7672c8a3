#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "fixpool/io/file.h"
#include "fixpool/io/sanitizer.h"
#include "fixpool/storage/cache_progress.h"
#include "fixpool/storage/coroutine_frames.h"
#include "fixpool/storage/page_cache.h"
#include "fixpool/storage/task.h"
#include "fixpool/storage/task_scheduler.h"
#include "gtest/gtest.h"
#include "tests/storage/cache_fixture.h"
#include "tests/storage/level_fixture.h"
#include "tests/support/child_process.h"
#include "tests/support/scratch.h"
#include "tests/support/sleeping_thread.h"

// What a forked child can do with a cache of its parent: nothing, and no harm.

namespace fixpool::tests {
namespace {

using storage::FileId;
using storage::PageCache;
using storage::PageId;
using storage::ReadGuard;
using storage::WriteGuard;

void ExpectRefused(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "forked child")) << status;
}

class PageCacheForkTest : public LevelTest {
 protected:
  static constexpr uint32_t kFrames = 32;

  void StartWithFile() {
    Start(kFrames);
    if (cache_ == nullptr) return;
    path_ = scratch_.MakeFile("data.db", FileText(2 * kFrames));
    file_ = *cache().OpenFile(path_);
  }

  absl::Status OpenAgain() {
    return io::File::Open(path_, {.lock_timeout = absl::ZeroDuration()}).status();
  }

  void ExpectThatTheParentWorks() {
    for (uint64_t page = 0; page < 2 * kFrames; ++page) {
      const absl::StatusOr<ReadGuard> guard = cache().Read(Page(page));
      ASSERT_TRUE(guard.ok()) << guard.status();
      EXPECT_TRUE(Text(guard->bytes()) == PageText(page)) << page;
    }
    {
      WriteGuard guard = *cache().Write(Page(3));
      Put(guard, PageText(3, 1));
    }
    EXPECT_TRUE(cache().Flush(file_).ok());
    EXPECT_TRUE(absl::IsFailedPrecondition(OpenAgain())) << "the lock is gone";
    EXPECT_TRUE(cache().CloseFile(file_).ok());
    EXPECT_TRUE(ReadWholeFile(path_).substr(3 * kPageBytes, kPageBytes) == PageText(3, 1));
  }

  std::string path_;
};

INSTANTIATE_TEST_SUITE_P(Levels, PageCacheForkTest, AllLevels(), LevelName);

TEST_P(PageCacheForkTest, RefusesInTheChild) {
  StartWithFile();
  if (IsSkipped()) return;
  std::vector<PageId> pages;
  for (uint64_t page = 0; page < kFrames / 2; ++page) pages.push_back(Page(page));
  ASSERT_TRUE(cache().Prefetch(pages).ok());  // in flight while the child is there
  WaitUntilOthersAreAsleep();
  FIXPOOL_IN_CHILD([this] {
    ExpectRefused(cache().Read(Page(0)).status());
    ExpectRefused(cache().Write(Page(0)).status());
    ExpectRefused(cache().Make(Page(0)).status());
    ExpectRefused(cache().Prefetch({}).status());
    ExpectRefused(cache().Flush(file_));
    ExpectRefused(cache().FlushAll());
    ExpectRefused(cache().Resize(1 << 20));
    ExpectRefused(cache().Allocate(file_, 1).status());
    ExpectRefused(cache().FreePages(file_, 0, 1));
    ExpectRefused(cache().Truncate(file_, 1));
    ExpectRefused(cache().Drop(file_));
    ExpectRefused(cache().OpenFile(path_).status());
    ExpectRefused(cache().CloseFile(file_));
    ExpectRefused(cache().PageCount(file_).status());
    ExpectRefused(cache().PayloadBytes(file_).status());
    EXPECT_EQ(cache().Stats().frame_count, 0u);
    EXPECT_TRUE(absl::StrContains(cache().Describe(), "forked child")) << cache().Describe();
    EXPECT_EQ(cache().frame_count(), size_t{kFrames});
    return std::string();
  });
  ExpectThatTheParentWorks();
}

storage::Task<absl::Status> Look(storage::TaskScheduler&, PageCache& cache, PageId page) {
  co_return (co_await cache.ReadAsync(page)).status();
}

TEST_P(PageCacheForkTest, TasksAreRefusedInTheChildAndMayBeDestroyedThere) {
  StartWithFile();
  if (IsSkipped()) return;
  const auto frames = *storage::CoroutineFrames::Create({.frame_count = 8, .frame_bytes = 2048});
  storage::CacheProgress progress(&cache());
  storage::TaskScheduler scheduler(frames.get(), &progress);
  std::optional<WriteGuard> held = *cache().Write(Page(1));
  std::optional<storage::SpawnedTask<absl::Status>> waiting =
      *scheduler.Spawn(Look(scheduler, cache(), Page(1)));
  ASSERT_TRUE(scheduler.RunReady().ok());
  WaitUntilOthersAreAsleep();
  FIXPOOL_IN_CHILD([&] {
    ExpectRefused(scheduler.Run(Look(scheduler, cache(), Page(0))));
    waiting.reset();
    EXPECT_EQ(scheduler.CountUnfinished(), 0u);
    return std::string();
  });
  EXPECT_FALSE(waiting->done());
  held.reset();
  while (!waiting->done()) ASSERT_TRUE(scheduler.RunReady().ok());
  EXPECT_TRUE(waiting->TakeResult().ok());
  ExpectThatTheParentWorks();
}

TEST_P(PageCacheForkTest, ChildDropsGuardsAndCacheAndEndsInOrder) {
  free_frames_ = 4;  // a thread that the child has not
  StartWithFile();
  if (IsSkipped()) return;
  auto reader = std::make_unique<ReadGuard>(*cache().Read(Page(0)));
  auto writer = std::make_unique<WriteGuard>(*cache().Write(Page(1)));
  WaitUntilOthersAreAsleep();
  std::fflush(nullptr);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    reader.reset();
    writer.reset();
    cache_.reset();
    const bool quiet = environment_.message_count() == 0;
    std::exit(quiet && absl::IsFailedPrecondition(OpenAgain()) ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_TRUE(Text(reader->bytes()) == PageText(0));
  reader.reset();
  writer.reset();
  ExpectThatTheParentWorks();
}

TEST_P(PageCacheForkTest, ChildDoesNotWaitForALockThatAThreadOfTheParentHeld) {
#ifdef FIXPOOL_INTERNAL_ASAN
  GTEST_SKIP() << "AddressSanitizer's allocator would be one who waits";
#endif
  StartWithFile();
  if (IsSkipped()) return;
  std::atomic<bool> stop{false};
  std::thread busy([&] {
    for (uint64_t page = 0; !stop.load(); page = (page + 1) % (2 * kFrames)) {
      EXPECT_TRUE(cache().Read(Page(page)).ok());
    }
  });
  for (int round = 0; round < 30; ++round) {
    const ChildResult result = RunInChild([this] {
      ExpectRefused(cache().Read(Page(0)).status());
      EXPECT_EQ(cache().Stats().hits, 0u);
      cache_.reset();
      return std::string();
    });
    EXPECT_EQ(result.outcome, ChildResult::Outcome::kPassed) << result.reason;
  }
  stop.store(true);
  busy.join();
  ExpectThatTheParentWorks();
}

TEST(PageCacheForkOwnTest, ChildMakesItsOwnCache) {
  const ScratchDirectory scratch;
  const std::string path = scratch.MakeFile("data.db", FileText(4));
  const auto parents = PageCache::Create({.memory_bytes = 16 * kPageBytes});
  ASSERT_TRUE(parents.ok()) << parents.status();
  WaitUntilOthersAreAsleep();
  FIXPOOL_IN_CHILD([&path]() -> std::string {
    // Without threads: those of a sanitizer do not like them in a child.
    const auto own = PageCache::Create(
        {.memory_bytes = 16 * kPageBytes, .engine = {.require = io::EngineLevel::kUringPlain}});
    if (!own.ok()) return std::string(own.status().message());
    const FileId file = *(*own)->OpenFile(path);
    EXPECT_TRUE(Text((*own)->Read({file, 2})->bytes()) == PageText(2));
    return "";
  });
}

}  // namespace
}  // namespace fixpool::tests
