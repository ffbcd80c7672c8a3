// Two files of one cache that several threads and tasks read, write, flush, free pages of, allocate
// in and truncate at once, with a model, and what the disk holds afterwards.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
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
using storage::TaskScheduler;
using storage::WriteGuard;
using StatusTask = storage::Task<absl::Status>;

constexpr uint32_t kFrames = 48;
constexpr int kFiles = 2;
constexpr uint64_t kThreads = 4;
// A file begins with pieces that one thread each writes and frees, and which are never cut off.
// Behind them is a tail that everybody writes, and that is cut off.
constexpr uint64_t kPiecePages = 8;
constexpr uint64_t kPieces = 3 * kThreads;
constexpr uint64_t kTail = kPieces * kPiecePages;
constexpr uint64_t kTailPages = 64;

// Of the run at one level, not of a test: nothing is expected to take a time.
absl::Duration RunFor() {
  const char* const seconds = std::getenv("FIXPOOL_STRESS_SECONDS");
  return absl::Seconds(seconds != nullptr ? std::atof(seconds) : 1.5);
}

// What a page holds that was ever written, all over it; `stamp` is above 0.
struct Record {
  uint64_t file;
  uint64_t page;
  uint64_t stamp;
  uint64_t check;

  static Record Of(uint64_t file, uint64_t page, uint64_t stamp) {
    return {file, page, stamp, (file * 31 + page) * 31 + stamp};
  }
};

void Fill(std::span<std::byte> bytes, const Record& record) {
  for (size_t at = 0; at < bytes.size(); at += sizeof(record)) {
    std::memcpy(&bytes[at], &record, sizeof(record));
  }
}

// The stamp, or 0 of a page of zeros; anything else is a failure.
uint64_t StampOf(std::span<const std::byte> bytes, uint64_t file, uint64_t page) {
  Record first;
  std::memcpy(&first, bytes.data(), sizeof(first));
  const Record expected = first.stamp == 0 ? Record{} : Record::Of(file, page, first.stamp);
  for (size_t at = 0; at < bytes.size(); at += sizeof(first)) {
    if (std::memcmp(&bytes[at], &expected, sizeof(first)) == 0) continue;
    ADD_FAILURE() << "file " << file << ", page " << page << ", byte " << at << ", stamp "
                  << first.stamp;
    break;
  }
  return first.stamp;
}

class PageCacheSpaceThreadsTest : public LevelTest {
 protected:
  struct FileModel {
    FileId id;
    // Of the pieces' pages, by their owners alone: what was written last; 0: zeros.
    std::array<uint64_t, kTail> stamps{};
    // One at a time. `cuts` ended well; a page of the tail is stamped with their number and 1 more.
    std::mutex cutting;
    std::atomic<uint64_t> cuts{0};
  };

  std::string Path(int file) const { return scratch_.File(absl::StrCat("data", file)); }

  void OpenFiles() {
    for (int file = 0; file < kFiles; ++file) {
      files_[file].id = *cache().OpenFile(Path(file), {.create = true});
      ASSERT_EQ(*cache().Allocate(files_[file].id, kTail), 0u);
    }
  }

  // A page of a piece that is the thread's.
  static uint64_t OwnPage(uint64_t thread, std::mt19937_64& random) {
    const uint64_t piece = random() % (kPieces / kThreads) * kThreads + thread;
    return piece * kPiecePages + random() % kPiecePages;
  }

  void WriteOwn(int file, uint64_t page, std::mt19937_64& random) {
    FileModel& model = files_[file];
    absl::StatusOr<WriteGuard> guard =
        random() % 4 == 0 ? cache().Make({model.id, page}) : cache().Write({model.id, page});
    ASSERT_TRUE(guard.ok()) << guard.status();
    const uint64_t seen = StampOf(guard->bytes(), file, page);
    if (seen != 0) {
      ASSERT_EQ(seen, model.stamps[page]) << page;
    }
    const uint64_t stamp = 1 + random() % 1'000'000;
    Fill(guard->mutable_bytes(), Record::Of(file, page, stamp));
    model.stamps[page] = stamp;
  }

  void ReadOwn(int file, uint64_t page) {
    const absl::StatusOr<ReadGuard> guard = cache().Read({files_[file].id, page});
    ASSERT_TRUE(guard.ok()) << guard.status();
    ASSERT_EQ(StampOf(guard->bytes(), file, page), files_[file].stamps[page])
        << "file " << file << ", page " << page;
  }

  void ReadAny(int file, uint64_t page) {
    const absl::StatusOr<ReadGuard> guard = cache().Read({files_[file].id, page});
    ASSERT_TRUE(guard.ok()) << guard.status();
    StampOf(guard->bytes(), file, page);
  }

  void FreeOwn(int file, uint64_t page) {
    FileModel& model = files_[file];
    const uint64_t first = page / kPiecePages * kPiecePages;
    const absl::Status status = cache().FreePages(model.id, first, kPiecePages);
    if (absl::IsFailedPrecondition(status)) {
      ++refused_;  // somebody looks at one of them, and nothing has changed
    } else {
      ASSERT_TRUE(status.ok()) << status;
      ++freed_;
      std::fill_n(&model.stamps[first], kPiecePages, 0);
    }
    for (uint64_t i = 0; i < kPiecePages; ++i) ReadOwn(file, first + i);
  }

  void WriteTail(int file, std::mt19937_64& random) {
    FileModel& model = files_[file];
    const uint64_t page = kTail + random() % kTailPages;
    absl::StatusOr<WriteGuard> guard = cache().Write({model.id, page});
    ASSERT_TRUE(guard.ok()) << guard.status();
    StampOf(guard->bytes(), file, page);
    Fill(guard->mutable_bytes(), Record::Of(file, page, model.cuts.load() + 1));
  }

  void ReadTail(int file, std::mt19937_64& random) {
    FileModel& model = files_[file];
    const uint64_t page = kTail + random() % kTailPages;
    const uint64_t cuts = model.cuts.load();
    const absl::StatusOr<ReadGuard> guard = cache().Read({model.id, page});
    if (absl::IsOutOfRange(guard.status())) return;
    ASSERT_TRUE(guard.ok()) << guard.status();
    const uint64_t stamp = StampOf(guard->bytes(), file, page);
    // Written while there had been so many cuts, and the last of them may not have been counted.
    if (stamp != 0) {
      ASSERT_GE(stamp + 1, cuts) << "file " << file << ", page " << page << " was cut off";
    }
  }

  void Cut(int file) {
    FileModel& model = files_[file];
    const std::lock_guard<std::mutex> lock(model.cutting);
    const absl::Status status = cache().Truncate(model.id, kTail);
    if (absl::IsFailedPrecondition(status)) {
      ++refused_;
      return;
    }
    ASSERT_TRUE(status.ok()) << status;
    model.cuts.fetch_add(1);
  }

  void AllocateTail(int file) {
    const absl::StatusOr<uint64_t> first = cache().Allocate(files_[file].id, 3);
    ASSERT_TRUE(first.ok()) << first.status();
    ASSERT_GE(*first, kTail);
  }

  void OneStep(uint64_t thread, std::mt19937_64& random) {
    const int file = static_cast<int>(random() % kFiles);
    const uint64_t dice = random() % 1000;
    if (dice < 3) {
      Cut(file);
    } else if (dice < 10) {
      ASSERT_TRUE(cache().Flush(files_[file].id).ok());
    } else if (dice < 30) {
      AllocateTail(file);
    } else if (dice < 80) {
      FreeOwn(file, OwnPage(thread, random));
    } else if (dice < 150) {
      std::array<PageId, 6> ahead;
      const uint64_t first = random() % kTail;
      for (size_t i = 0; i < ahead.size(); ++i) ahead[i] = {files_[file].id, first + i};
      ASSERT_TRUE(cache().Prefetch(ahead).ok());
    } else if (dice < 300) {
      ReadAny(file, random() % kTail);
    } else if (dice < 450) {
      ReadOwn(file, OwnPage(thread, random));
    } else if (dice < 600) {
      ReadTail(file, random);
    } else if (dice < 800) {
      WriteTail(file, random);
    } else {
      WriteOwn(file, OwnPage(thread, random), random);
    }
  }

  void RunThread(uint64_t thread, uint64_t seed, absl::Time end) {
    std::mt19937_64 random(seed + thread);
    for (uint64_t steps = 0; absl::Now() < end && !HasFatalFailure(); ++steps) {
      OneStep(thread, random);
    }
  }

  // Tasks that read what the threads free, and have to be woken when that is over.
  static StatusTask ReadSome(TaskScheduler&, PageCacheSpaceThreadsTest& test, uint64_t seed) {
    std::minstd_rand random(static_cast<uint32_t>(seed));  // has little to keep in a task's frame
    for (int i = 0; i < 20; ++i) {
      const int file = static_cast<int>(random() % kFiles);
      const uint64_t page = random() % kTail;
      const absl::StatusOr<ReadGuard> guard =
          co_await test.cache().ReadAsync({test.files_[file].id, page});
      if (!guard.ok()) co_return guard.status();
      StampOf(guard->bytes(), file, page);
    }
    co_return absl::OkStatus();
  }

  void RunTasks(uint64_t seed, absl::Time end) {
    std::mt19937_64 random(seed);
    storage::CacheProgress progress(&cache());
    const auto frames = *storage::CoroutineFrames::Create();
    TaskScheduler scheduler(frames.get(), &progress);
    while (absl::Now() < end && !HasFatalFailure()) {
      std::vector<StatusTask> tasks;
      for (int i = 0; i < 8; ++i) tasks.push_back(ReadSome(scheduler, *this, random()));
      const absl::Status status = scheduler.RunConcurrently(absl::MakeSpan(tasks), {}, {});
      ASSERT_TRUE(status.ok()) << status;
    }
  }

  void ExpectModelOnDisk(int file) {
    const std::string bytes = ReadWholeFile(Path(file));
    ASSERT_GE(bytes.size(), kTail * kPageBytes);
    const uint64_t cuts = files_[file].cuts.load();
    for (uint64_t page = 0; page * kPageBytes < bytes.size(); ++page) {
      const auto on_disk = std::as_bytes(std::span(bytes).subspan(page * kPageBytes, kPageBytes));
      const uint64_t stamp = StampOf(on_disk, file, page);
      if (page < kTail) {
        EXPECT_EQ(stamp, files_[file].stamps[page]) << "file " << file << ", page " << page;
      } else if (stamp != 0) {
        EXPECT_GE(stamp + 1, cuts) << "file " << file << ", page " << page;
      }
    }
  }

  std::array<FileModel, kFiles> files_;
  std::atomic<uint64_t> freed_{0};
  std::atomic<uint64_t> refused_{0};
};

INSTANTIATE_TEST_SUITE_P(Levels, PageCacheSpaceThreadsTest, AllLevels(), LevelName);

TEST_P(PageCacheSpaceThreadsTest, TwoFilesAtOnce) {
  const uint64_t seed = Seed();
  free_frames_ = 4;
  FIXPOOL_START_OR_SKIP(kFrames);
  ASSERT_NO_FATAL_FAILURE(OpenFiles());
  const absl::Time end = absl::Now() + RunFor();
  std::vector<std::thread> threads;
  for (uint64_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([this, thread, seed, end] { RunThread(thread, seed, end); });
  }
  threads.emplace_back([this, seed, end] { RunTasks(seed, end); });
  for (std::thread& thread : threads) thread.join();
  if (HasFailure()) return;
  EXPECT_GT(freed_.load(), 0u);
  EXPECT_GT(files_[0].cuts.load() + files_[1].cuts.load(), 0u);
  std::printf("%llu pieces freed, %llu and %llu cuts, %llu refused; %s\n",
              static_cast<unsigned long long>(freed_.load()),
              static_cast<unsigned long long>(files_[0].cuts.load()),
              static_cast<unsigned long long>(files_[1].cuts.load()),
              static_cast<unsigned long long>(refused_.load()), cache().Stats().ToString().c_str());
  for (FileModel& file : files_) ASSERT_TRUE(cache().CloseFile(file.id).ok());
  for (int file = 0; file < kFiles; ++file) ExpectModelOnDisk(file);
}

TEST_P(PageCacheSpaceThreadsTest, NoPageIsAllocatedTwiceNorMadeByAnother) {
  constexpr uint64_t kRounds = 100;
  FIXPOOL_START_OR_SKIP(kFrames);
  const FileId file = *cache().OpenFile(Path(0), {.create = true});
  std::array<std::vector<std::pair<uint64_t, uint64_t>>, kThreads> got;
  std::vector<std::thread> threads;
  for (uint64_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (uint64_t round = 0; round < kRounds; ++round) {
        const uint64_t pages = 1 + (thread + round) % 5;
        const absl::StatusOr<uint64_t> first = cache().Allocate(file, pages);
        ASSERT_TRUE(first.ok()) << first.status();
        got[thread].emplace_back(*first, pages);
        for (uint64_t page = *first; page < *first + pages; ++page) {
          absl::StatusOr<WriteGuard> guard = cache().Write({file, page});
          ASSERT_TRUE(guard.ok()) << guard.status();
          ASSERT_EQ(StampOf(guard->bytes(), 0, page), 0u) << page;
          Fill(guard->mutable_bytes(), Record::Of(0, page, thread + 1));
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (HasFailure()) return;
  ASSERT_TRUE(cache().CloseFile(file).ok());
  const std::string bytes = ReadWholeFile(Path(0));
  std::vector<uint64_t> owners(bytes.size() / kPageBytes);
  for (uint64_t thread = 0; thread < kThreads; ++thread) {
    for (const auto& [first, pages] : got[thread]) {
      for (uint64_t page = first; page < first + pages; ++page) {
        ASSERT_LT(page, owners.size());
        ASSERT_EQ(std::exchange(owners[page], thread + 1), 0u) << "page " << page << " twice";
        const auto on_disk = std::as_bytes(std::span(bytes).subspan(page * kPageBytes, kPageBytes));
        ASSERT_EQ(StampOf(on_disk, 0, page), thread + 1);
      }
    }
  }
  EXPECT_EQ(std::count(owners.begin(), owners.end(), 0u), 0);
}

}  // namespace
}  // namespace fixpool::tests
