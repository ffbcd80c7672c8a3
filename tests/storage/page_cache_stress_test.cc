// Many threads and tasks, few frames, a model, and what the disk holds afterwards.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "fixpool/storage/cache_progress.h"
#include "fixpool/storage/coroutine_frames.h"
#include "fixpool/storage/page_cache.h"
#include "fixpool/storage/task.h"
#include "fixpool/storage/task_scheduler.h"
#include "gtest/gtest.h"
#include "tests/storage/level_fixture.h"
#include "tests/support/seed.h"

namespace fixpool::tests {
namespace {

using storage::FileId;
using storage::PageId;
using storage::ReadGuard;
using storage::SpawnedTask;
using storage::TaskScheduler;
using storage::WriteGuard;
using StatusTask = storage::Task<absl::Status>;

constexpr uint32_t kFrames = 24;
constexpr uint64_t kRegionFrames = 3;
constexpr uint64_t kPages = 160;           // of each file
constexpr uint32_t kFramesForScans = 512;  // with read-ahead, and not enough for all
constexpr uint64_t kPagesForScans = 900;
constexpr int kFiles = 2;
constexpr int kThreads = 6;
constexpr int kTaskThreads = 2;  // of these
constexpr size_t kTasks = 12;    // of each of them, at a time

// Of the run at one level, not of a test: nothing is expected to take a time.
absl::Duration RunFor() {
  const char* const seconds = std::getenv("FIXPOOL_STRESS_SECONDS");
  return absl::Seconds(seconds != nullptr ? std::atof(seconds) : 1.5);
}

// What every page holds: who it is, and how often it was changed, all over it.
struct Record {
  uint64_t file;
  uint64_t page;
  uint64_t changes;
  uint64_t check;

  static Record Of(uint64_t file, uint64_t page, uint64_t changes) {
    return {file, page, changes, (file * 31 + page) * 31 + changes};
  }
  friend bool operator==(const Record&, const Record&) = default;
};

void Fill(std::span<std::byte> bytes, const Record& record) {
  for (size_t at = 0; at < bytes.size(); at += sizeof(record)) {
    std::memcpy(&bytes[at], &record, sizeof(record));
  }
}

// The number of changes, or a failure: every record of the page says the same.
uint64_t ChangesOf(std::span<const std::byte> bytes, uint64_t file, uint64_t page) {
  Record first;
  std::memcpy(&first, bytes.data(), sizeof(first));
  EXPECT_EQ(first, Record::Of(file, page, first.changes)) << "file " << file << ", page " << page;
  for (size_t at = sizeof(first); at < bytes.size(); at += sizeof(first)) {
    if (std::memcmp(&bytes[at], &first, sizeof(first)) == 0) continue;
    ADD_FAILURE() << "torn: file " << file << ", page " << page << ", byte " << at;
    break;
  }
  return first.changes;
}

class PageCacheStressTest : public LevelTest {
 protected:
  std::string Path(int file) const { return scratch_.File("data" + std::to_string(file)); }

  void MakeFiles() {
    for (int file = 0; file < kFiles; ++file) {
      files_[file] = *cache().OpenFile(Path(file), {.create = true});
      for (uint64_t page = 0; page < pages_; ++page) {
        WriteGuard guard = *cache().Make({files_[file], page});
        Fill(guard.mutable_bytes(), Record::Of(file, page, 0));
      }
    }
  }

  // Half of the accesses go to a tenth of the pages.
  uint64_t AnyPage(std::mt19937_64& random) const {
    return random() % 2 == 0 ? random() % pages_ : random() % (pages_ / 10);
  }

  void OneStep(std::mt19937_64& random) {
    const int file = static_cast<int>(random() % kFiles);
    const uint64_t page = AnyPage(random);
    const PageId id{files_[file], page};
    const uint64_t dice = random() % 1000;
    if (dice < 3) {
      ASSERT_TRUE(cache().Flush(files_[file]).ok());
    } else if (dice < 10) {
      ScanFrom(file, page);
    } else if (dice < 100) {
      std::array<PageId, 5> ahead;
      for (PageId& one : ahead) one = {files_[file], AnyPage(random)};
      ASSERT_TRUE(cache().Prefetch(ahead).ok());
    } else if (dice < 250) {
      const absl::StatusOr<storage::OptimisticGuard> guard = cache().ReadOptimistic(id);
      ASSERT_TRUE(guard.ok()) << guard.status();
      std::array<std::byte, kPageBytes> copy;
      guard->view().CopyTo(0, copy);
      if (guard->StillValid()) ChangesOf(copy, file, page);
    } else if (dice < 500) {
      const absl::StatusOr<ReadGuard> guard = cache().Read(id);
      ASSERT_TRUE(guard.ok()) << guard.status();
      const uint64_t seen = ChangesOf(guard->bytes(), file, page);
      ASSERT_EQ(seen, changes_[file][page]);
    } else {
      absl::StatusOr<WriteGuard> guard = cache().Write(id);
      ASSERT_TRUE(guard.ok()) << guard.status();
      if (dice < 600) {  // looked, and left it as it was
        ASSERT_EQ(ChangesOf(guard->bytes(), file, page), changes_[file][page]);
      } else {
        ChangeUnder(*guard, file, page);
      }
    }
  }

  // Page after page; what is read ahead of it may be changed before it comes there.
  void ScanFrom(int file, uint64_t first) {
    for (uint64_t page = first; page < std::min(pages_, first + 100); ++page) {
      const absl::StatusOr<ReadGuard> guard = cache().Read({files_[file], page});
      ASSERT_TRUE(guard.ok()) << guard.status();
      ASSERT_EQ(ChangesOf(guard->bytes(), file, page), changes_[file][page]);
    }
  }

  void ChangeUnder(WriteGuard& guard, int file, uint64_t page) {
    const uint64_t seen = ChangesOf(guard.bytes(), file, page);
    EXPECT_EQ(seen, changes_[file][page]);
    Fill(guard.mutable_bytes(), Record::Of(file, page, seen + 1));
    changes_[file][page] = seen + 1;
  }

  // Some accesses, as OneStep does them, that other tasks of the thread come between.
  static StatusTask TaskSteps(TaskScheduler&, PageCacheStressTest& test, uint64_t seed) {
    std::mt19937_64 random(seed);
    for (int step = 0; step < 8; ++step) {
      const int file = static_cast<int>(random() % kFiles);
      const uint64_t page = test.AnyPage(random);
      const PageId id{test.files_[file], page};
      const uint64_t dice = random() % 100;
      // Some have no time to wait.
      storage::AccessOptions options;
      if (dice % 10 == 0) options.timeout = absl::ZeroDuration();
      if (dice < 50) {
        const absl::StatusOr<ReadGuard> guard = co_await test.cache().ReadAsync(id, options);
        if (!guard.ok()) co_return guard.status();
        if (dice < 10) co_await TaskScheduler::Yield();
        EXPECT_EQ(ChangesOf(guard->bytes(), file, page), test.changes_[file][page]);
      } else {
        absl::StatusOr<WriteGuard> guard = co_await test.cache().WriteAsync(id, options);
        if (!guard.ok()) co_return guard.status();
        if (dice < 60) co_await TaskScheduler::Yield();
        test.ChangeUnder(*guard, file, page);
      }
    }
    co_return absl::OkStatus();
  }

  // Starts tasks, and ends some of them wherever they happen to be.
  void RunTasks(uint64_t seed, absl::Time end, std::atomic<uint64_t>& ended,
                std::atomic<uint64_t>& dropped) {
    std::mt19937_64 random(seed);
    storage::CacheProgress progress(&cache());
    const auto frames =
        *storage::CoroutineFrames::Create({.frame_count = kTasks, .frame_bytes = 4096});
    TaskScheduler scheduler(frames.get(), &progress);
    std::vector<SpawnedTask<absl::Status>> tasks;
    while (absl::Now() < end && !HasFailure()) {
      while (tasks.size() < kTasks) {
        tasks.push_back(*scheduler.Spawn(TaskSteps(scheduler, *this, random())));
      }
      ASSERT_TRUE(scheduler.RunReady().ok());
      std::erase_if(tasks, [&](SpawnedTask<absl::Status>& task) {
        if (!task.done()) return false;
        const absl::Status status = task.TakeResult();
        EXPECT_TRUE(status.ok() || absl::IsDeadlineExceeded(status) ||
                    absl::IsResourceExhausted(status))
            << status;
        ++ended;
        return true;
      });
      if (!tasks.empty() && random() % 16 == 0) {
        tasks.erase(tasks.begin() + static_cast<ptrdiff_t>(random() % tasks.size()));
        ++dropped;
      }
      if (scheduler.CountReady() == 0) {
        (void)progress.Wait(environment_.DeadlineAfter(absl::Milliseconds(1)));
      }
    }
  }

  // From kFrames to eight times as many, and back, and to anything in between. Counts those that
  // were done, and those for which somebody held a page too long.
  void RunResizes(uint64_t seed, absl::Time end, std::atomic<uint64_t>& done,
                  std::atomic<uint64_t>& late) {
    std::mt19937_64 random(seed);
    while (absl::Now() < end && !HasFailure()) {
      const uint64_t kind = random() % 3;
      const uint64_t frames = kind == 0   ? kFrames
                              : kind == 1 ? 8 * kFrames
                                          : kFrames + random() % (7 * kFrames);
      const absl::Duration timeout = absl::Milliseconds(random() % 4 == 0 ? 1 : 1000);
      const absl::Status status = cache().Resize(frames * kPageBytes, timeout);
      if (status.ok()) {
        const uint64_t rounded = (frames + kRegionFrames - 1) / kRegionFrames * kRegionFrames;
        EXPECT_EQ(cache().frame_count(), rounded);
        ++done;
      } else {
        EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
        ++late;
      }
      if (random() % 2 == 0) absl::SleepFor(absl::Milliseconds(random() % 20));
    }
  }

  // With `resizes`, the cache's size changes all the time.
  void RunEverything(uint32_t frames, bool resizes = false) {
    const uint64_t seed = Seed();
    free_frames_ = seed % 2 == 0 ? 0 : 5;
    if (resizes) region_bytes_ = kRegionFrames * kPageBytes;
    FIXPOOL_START_OR_SKIP(frames);
    MakeFiles();
    const absl::Time end = absl::Now() + RunFor();
    std::atomic<uint64_t> steps{0}, tasks{0}, dropped{0}, resized{0}, late{0};
    std::vector<std::thread> threads;
    if (resizes) threads.emplace_back([&] { RunResizes(seed, end, resized, late); });
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        if (i < kTaskThreads) return RunTasks(seed + static_cast<uint64_t>(i), end, tasks, dropped);
        std::mt19937_64 random(seed + static_cast<uint64_t>(i));
        while (absl::Now() < end && !HasFailure()) {
          OneStep(random);
          ++steps;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_FALSE(HasFailure());
    std::printf("%s\n", absl::StrCat(steps.load(), " steps, ", tasks.load(), " tasks, ",
                                     dropped.load(), " dropped, ", resized.load(), " resizes, ",
                                     late.load(), " too late; ", cache().Stats().ToString())
                            .c_str());
    EXPECT_EQ(resized > 0, resizes);
    EXPECT_GT(steps, 0u);
    EXPECT_GT(tasks, 0u);
    EXPECT_GT(dropped, 0u);
    read_ahead_ = cache().Stats().read_ahead;
    joined_reads_ = cache().Stats().joined_reads;
    EXPECT_EQ(cache().Stats().pinned_frames, 0u);
    EXPECT_EQ(cache().Stats().read_errors + cache().Stats().write_errors, 0u);
    ASSERT_TRUE(cache().FlushAll().ok());
    EXPECT_EQ(cache().Stats().dirty_frames, 0u);
    ExpectOnDisk();
    for (const FileId file : files_) ASSERT_TRUE(cache().CloseFile(file).ok());
    Stop();
    FIXPOOL_START_OR_SKIP(frames);
    for (int file = 0; file < kFiles; ++file) {
      const FileId id = *cache().OpenFile(Path(file), {.read_only = true});
      ASSERT_EQ(*cache().PageCount(id), pages_);
      for (uint64_t page = 0; page < pages_; ++page) {
        const ReadGuard guard = *cache().Read({id, page});
        EXPECT_EQ(ChangesOf(guard.bytes(), file, page), changes_[file][page]);
      }
    }
  }

  void ExpectOnDisk() {
    for (int file = 0; file < kFiles; ++file) {
      const std::string text = ReadWholeFile(Path(file));
      ASSERT_EQ(text.size(), pages_ * kPageBytes);
      for (uint64_t page = 0; page < pages_; ++page) {
        const auto* bytes = reinterpret_cast<const std::byte*>(&text[page * kPageBytes]);
        EXPECT_EQ(ChangesOf({bytes, kPageBytes}, file, page), changes_[file][page]);
      }
    }
  }

  std::array<FileId, kFiles> files_;
  // Each guarded by the latch of its page, which is part of what is tested.
  std::array<std::array<uint64_t, kPagesForScans>, kFiles> changes_{};
  uint64_t pages_ = kPages;                     // of each file
  uint64_t read_ahead_ = 0, joined_reads_ = 0;  // of the first cache of RunEverything
};
INSTANTIATE_TEST_SUITE_P(Levels, PageCacheStressTest, AllLevels(), LevelName);

TEST_P(PageCacheStressTest, EveryPageIsItselfWhateverTheSize) {
  RunEverything(kFrames, /*resizes=*/true);
}

TEST_P(PageCacheStressTest, EveryPageIsItselfWhateverHappens) { RunEverything(kFrames); }

TEST_P(PageCacheStressTest, EveryPageIsItselfWhereScansAreReadAhead) {
  pages_ = kPagesForScans;
  RunEverything(kFramesForScans);
  if (IsSkipped() || HasFailure()) return;
  EXPECT_GT(read_ahead_, 0u);
  EXPECT_GT(joined_reads_, 0u);
}

// As many threads as frames, each holding one page and wanting another: every wait ends, by
// a frame or by the deadline, and nothing is lost.
TEST_P(PageCacheStressTest, MoreGuardsThanFramesEndInErrorsAndNotInAHang) {
  FIXPOOL_START_OR_SKIP(4);
  MakeFiles();
  const uint64_t seed = Seed();
  std::atomic<int> refused{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      std::mt19937_64 random(seed + static_cast<uint64_t>(i));
      for (int step = 0; step < 30; ++step) {
        const storage::AccessOptions options{.timeout = absl::Milliseconds(5)};
        const PageId first{files_[0], random() % pages_};
        const PageId second{files_[1], random() % pages_};
        const absl::StatusOr<ReadGuard> held = cache().Read(first, options);
        const absl::StatusOr<WriteGuard> wanted = cache().Write(second, options);
        for (const absl::Status& status : {held.status(), wanted.status()}) {
          if (status.ok()) continue;
          EXPECT_TRUE(absl::IsResourceExhausted(status) || absl::IsDeadlineExceeded(status))
              << status;
          ++refused;
        }
        if (held.ok()) ChangesOf(held->bytes(), 0, first.page_number);
        if (wanted.ok()) ChangesOf(wanted->bytes(), 1, second.page_number);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::printf("%d refused\n", refused.load());
  EXPECT_EQ(cache().Stats().pinned_frames, 0u);
  ASSERT_TRUE(cache().FlushAll().ok());
  ExpectOnDisk();
}

}  // namespace
}  // namespace fixpool::tests
