// Several threads on one cache, with an engine that does as it is told, so that who waits
// for what is certain and only the order in which threads run is not.

#include <atomic>
#include <thread>
#include <vector>

#include "fixpool/io/error.h"
#include "fixpool/storage/page_cache.h"
#include "gtest/gtest.h"
#include "tests/storage/cache_fixture.h"
#include "tests/support/recording_environment.h"

namespace fixpool::tests {
namespace {

using io::IoOperation;
using storage::PageCache;
using storage::PageId;
using storage::ReadGuard;
using storage::WriteGuard;

class PageCacheThreadsTest : public ::testing::Test {
 protected:
  void Start(uint32_t frames, uint64_t pages, FakeEngine::Options options = {}) {
    path_ = scratch_.MakeFile("data.db", FileText(pages));
    stack_.emplace(&environment_, frames, options);
    file_ = *cache().OpenFile(path_);
  }
  PageCache& cache() { return *stack_->cache; }
  FakeEngine& engine() { return *stack_->engine; }
  PageId Page(uint64_t page_number) const { return {file_, page_number}; }

  // Until `count` accesses have had to wait.
  void AwaitWaiters(uint64_t count) {
    while (cache().Stats().waits < count) std::this_thread::yield();
  }

  RecordingEnvironment environment_;
  ScratchDirectory scratch_;
  std::string path_;
  std::optional<FakeStack> stack_;
  storage::FileId file_;
};

TEST_F(PageCacheThreadsTest, ConcurrentMissesOfOnePageShareOneRead) {
  constexpr int kThreads = 8;
  Start(8, 4);
  engine().Hold({.operation = IoOperation::kRead});
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      const absl::StatusOr<ReadGuard> page = cache().Read(Page(2));
      if (page.ok() && Text(page->bytes()) == PageText(2)) ++good;
    });
  }
  AwaitWaiters(kThreads);
  engine().ReleaseAll();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, kThreads);
  EXPECT_EQ(engine().Count(IoOperation::kRead), 1u);
  EXPECT_EQ(cache().Stats().misses, static_cast<uint64_t>(kThreads));
}

TEST_F(PageCacheThreadsTest, ErrorOfOneReadReachesAllWhoWaitedForIt) {
  constexpr int kThreads = 8;
  Start(8, 4);
  engine().Hold({.operation = IoOperation::kRead});
  engine().Fail({.operation = IoOperation::kRead}, io::ErrnoStatus(EIO, "the test"));
  std::atomic<int> failed{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      const absl::Status status =
          i % 2 == 0 ? cache().Read(Page(2)).status() : cache().Write(Page(2)).status();
      if (io::ErrnoOf(status) == EIO) ++failed;
    });
  }
  AwaitWaiters(kThreads);
  engine().ReleaseAll();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failed, kThreads);
  EXPECT_EQ(engine().Count(IoOperation::kRead), 1u);
  EXPECT_EQ(cache().Stats().free_frames, 8u);
}

TEST_F(PageCacheThreadsTest, WriterWaitsForReadersAndReadersForTheWriter) {
  Start(4, 4);
  std::atomic<bool> written{false};
  std::optional<ReadGuard> reader = *cache().Read(Page(1));
  std::thread writer([&] {
    WriteGuard page = *cache().Write(Page(1));
    written = true;
    Put(page, PageText(1, 1));
  });
  AwaitWaiters(2);  // the first was for the disk
  EXPECT_FALSE(written);
  EXPECT_TRUE(Text(reader->bytes()) == PageText(1, 0));
  reader.reset();
  const absl::StatusOr<ReadGuard> after = [&] {
    while (!written) std::this_thread::yield();
    return cache().Read(Page(1));
  }();
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_TRUE(Text(after->bytes()) == PageText(1, 1));
  writer.join();
}

// Not delayed by a disk that is busy with something else: a latch is not waited for in Reap.
// The holder lets go at the very moment at which somebody begins to wait, and nothing else happens
// in the cache that would have him look again.
TEST_F(PageCacheThreadsTest, FirstWhoWaitsForAPageHearsOfItsRelease) {
  Start(8, 4);
  ASSERT_TRUE(cache().Read(Page(1)).ok());
  constexpr int kRounds = 20'000;
  std::atomic<int> held{0}, done{0};
  std::thread writer([&] {
    for (int round = 1; round <= kRounds; ++round) {
      while (held < round) std::this_thread::yield();
      EXPECT_TRUE(cache().Write(Page(1), {.timeout = absl::Seconds(20)}).ok());
      done = round;
    }
  });
  for (int round = 1; round <= kRounds && !HasFailure(); ++round) {
    {
      const absl::StatusOr<ReadGuard> guard = cache().Read(Page(1));
      EXPECT_TRUE(guard.ok());
      held = round;
      for (int spins = round * 37 % 8000; spins > 0; --spins)
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }
    while (done < round) std::this_thread::yield();
  }
  held = kRounds;
  writer.join();
}

TEST_F(PageCacheThreadsTest, WaitForALatchEndsThoughSlowReadsAreInFlight) {
  Start(4, 4);
  std::optional<WriteGuard> held = *cache().Write(Page(1));
  engine().Hold({.operation = IoOperation::kRead});
  const PageId slow = Page(2);
  ASSERT_EQ(*cache().Prefetch({&slow, 1}), 1u);
  std::thread reader([&] { EXPECT_TRUE(cache().Read(Page(1)).ok()); });
  AwaitWaiters(2);
  held.reset();
  reader.join();
  engine().ReleaseAll();
}

TEST_F(PageCacheThreadsTest, WaitForAFrameEndsWhenAGuardIsDropped) {
  Start(2, 8);
  std::optional<ReadGuard> first = *cache().Read(Page(0));
  const ReadGuard second = *cache().Read(Page(1));
  std::thread reader([&] { EXPECT_TRUE(cache().Read(Page(2)).ok()); });
  AwaitWaiters(3);
  first.reset();
  reader.join();
}

TEST_F(PageCacheThreadsTest, WaitForAFrameEndsWhenAGuardIsDroppedThoughSlowReadsAreInFlight) {
  Start(2, 8);
  std::optional<ReadGuard> first = *cache().Read(Page(0));
  engine().Hold({.operation = IoOperation::kRead, .offset_bytes = kPageBytes});
  const PageId slow = Page(1);
  ASSERT_EQ(*cache().Prefetch({&slow, 1}), 1u);
  std::thread reader([&] { EXPECT_TRUE(cache().Read(Page(2)).ok()); });
  AwaitWaiters(2);
  first.reset();
  reader.join();
  engine().ReleaseAll();
}

TEST_F(PageCacheThreadsTest, ReaderProgressesThoughTheSubmitterNeverReturns) {
  Start(4, 4);
  std::atomic<bool> prefetched{false};
  std::atomic<bool> finish{false};
  std::thread submitter([&] {
    const PageId page = Page(3);
    EXPECT_EQ(*cache().Prefetch({&page, 1}), 1u);
    prefetched = true;
    // Busy with something else for the rest of the test.
    while (!finish) std::this_thread::yield();
  });
  while (!prefetched) std::this_thread::yield();
  const absl::StatusOr<ReadGuard> page = cache().Read(Page(3));
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_TRUE(Text(page->bytes()) == PageText(3));
  EXPECT_EQ(engine().Count(IoOperation::kRead), 1u);
  finish = true;
  submitter.join();
}

// Whoever comes between the marking of a frame and its submission finds nothing to reap.
TEST_F(PageCacheThreadsTest, ReaderThatCameBeforeTheSubmissionIsWokenByIt) {
  Start(4, 4);
  engine().BeforeSubmit([this] { AwaitWaiters(1); });
  std::atomic<bool> finish{false};
  std::thread submitter([&] {
    const PageId page = Page(3);
    EXPECT_EQ(*cache().Prefetch({&page, 1}), 1u);
    while (!finish) std::this_thread::yield();
  });
  while (cache().Stats().in_flight_frames == 0) std::this_thread::yield();
  EXPECT_TRUE(cache().Read(Page(3)).ok());
  finish = true;
  submitter.join();
}

TEST_F(PageCacheThreadsTest, ReadersBehindAWriterThatGivesUpAreLetIn) {
  Start(4, 4);
  const ReadGuard held = *cache().Read(Page(1));
  std::thread writer([&] {
    EXPECT_EQ(cache().Write(Page(1), {.timeout = absl::Milliseconds(100)}).status().code(),
              absl::StatusCode::kDeadlineExceeded);
  });
  AwaitWaiters(2);  // the first was for the disk
  // Without a deadline, which would wake it up as well.
  std::thread reader(
      [&] { EXPECT_TRUE(cache().Read(Page(1), {.timeout = absl::InfiniteDuration()}).ok()); });
  writer.join();
  reader.join();
}

TEST_F(PageCacheThreadsTest, WaiterTakesOverFromAReaperWhoseDeadlinePassed) {
  Start(4, 4);
  engine().Hold({.operation = IoOperation::kRead});
  std::thread impatient([&] {
    EXPECT_EQ(cache().Read(Page(1), {.timeout = absl::Milliseconds(50)}).status().code(),
              absl::StatusCode::kDeadlineExceeded);
  });
  AwaitWaiters(1);
  std::thread patient([&] { EXPECT_TRUE(cache().Read(Page(2)).ok()); });
  AwaitWaiters(2);
  impatient.join();
  engine().ReleaseAll();
  patient.join();
}

TEST_F(PageCacheThreadsTest, FlushWaitsForTheWriterOfAnotherThread) {
  Start(4, 4);
  std::atomic<bool> flushed{false};
  std::optional<WriteGuard> held = *cache().Write(Page(1));
  Put(*held, PageText(1, 1));
  std::thread flusher([&] {
    EXPECT_TRUE(cache().Flush(file_).ok());
    flushed = true;
  });
  EXPECT_FALSE(flushed);
  held.reset();
  flusher.join();
  EXPECT_TRUE(ReadWholeFile(path_).substr(kPageBytes, kPageBytes) == PageText(1, 1));
}

TEST_F(PageCacheThreadsTest, FlushIsNotStarvedByAWriterOfAHotPage) {
  Start(4, 4);
  std::atomic<bool> finish{false};
  std::thread writer([&] {
    for (uint64_t version = 0; !finish; ++version) {
      absl::StatusOr<WriteGuard> page = cache().Write(Page(1));
      ASSERT_TRUE(page.ok()) << page.status();
      Put(*page, PageText(1, version));
    }
  });
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(cache().Flush(file_).ok());
  finish = true;
  writer.join();
}

TEST_F(PageCacheThreadsTest, WriterIsNotStarvedByReadersOfAHotPage) {
  Start(4, 4);
  std::atomic<bool> finish{false};
  std::vector<std::thread> readers;
  for (int i = 0; i < 4; ++i) {
    readers.emplace_back([&] {
      while (!finish) {
        const absl::StatusOr<ReadGuard> page = cache().Read(Page(1));
        ASSERT_TRUE(page.ok()) << page.status();
        std::this_thread::yield();
      }
    });
  }
  for (uint64_t version = 0; version < 50; ++version) {
    absl::StatusOr<WriteGuard> page = cache().Write(Page(1));
    ASSERT_TRUE(page.ok()) << page.status();
    Put(*page, PageText(1, version));
  }
  finish = true;
  for (std::thread& reader : readers) reader.join();
}

// Who closes a file flushes it, or fails to; who flushes all files must not take the one for the
// other.
TEST_F(PageCacheThreadsTest, FlushAllWaitsForAnotherWhoClosesAFileAndFails) {
  Start(8, 8);
  {
    WriteGuard guard = *cache().Write(Page(1));
    Put(guard, PageText(1, 1));
  }
  engine().Hold({.operation = IoOperation::kWrite});
  engine().Fail({.operation = IoOperation::kWrite}, io::ErrnoStatus(EIO, "the test"));
  std::thread closer([&] { EXPECT_EQ(io::ErrnoOf(cache().CloseFile(file_)), EIO); });
  while (engine().Count(IoOperation::kWrite) == 0) std::this_thread::yield();
  std::thread flusher([&] {
    EXPECT_TRUE(cache().FlushAll().ok());
    EXPECT_TRUE(ReadWholeFile(path_).substr(kPageBytes, kPageBytes) == PageText(1, 1));
  });
  for (int i = 0; i < 1000; ++i) std::this_thread::yield();  // it comes to where it waits
  engine().ReleaseAll();
  closer.join();
  flusher.join();
}

// All who come while a sync is in flight, which may have begun before their pages were written, are
// served by the next one.
TEST_F(PageCacheThreadsTest, ManyFlushesShareASync) {
  constexpr int kThreads = 8;
  Start(16, 16);
  engine().Hold({.operation = IoOperation::kSync});
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i <= kThreads; ++i) {
    threads.emplace_back([&, i] {
      {
        WriteGuard guard = *cache().Write(Page(i));
        Put(guard, PageText(i, 1));
      }
      EXPECT_TRUE(cache().Flush(file_).ok());
    });
    while (i == 0 && engine().Count(IoOperation::kSync) == 0) std::this_thread::yield();
  }
  while (engine().Count(IoOperation::kWrite) <= kThreads) std::this_thread::yield();
  EXPECT_EQ(engine().Count(IoOperation::kSync), 1u);
  engine().ReleaseAll();
  for (std::thread& thread : threads) thread.join();
  // Two, but for threads that were slow to come to where they wait for it.
  EXPECT_GE(engine().Count(IoOperation::kSync), 2u);
  EXPECT_LE(engine().Count(IoOperation::kSync), kThreads / 2);
}

TEST_F(PageCacheThreadsTest, ConcurrentFlushesAllSeeAFailedSync) {
  constexpr int kThreads = 4;
  Start(8, 8);
  for (uint64_t page = 0; page < 4; ++page) {
    WriteGuard guard = *cache().Write(Page(page));
    Put(guard, PageText(page, 1));
  }
  engine().Fail({.operation = IoOperation::kSync}, io::ErrnoStatus(EIO, "the test"));
  std::atomic<int> failed{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      if (io::ErrnoOf(cache().Flush(file_)) == EIO) ++failed;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failed, kThreads);
  EXPECT_EQ(engine().Count(IoOperation::kSync), 1u);
}

TEST_F(PageCacheThreadsTest, GuardMayBeDroppedByAnotherThread) {
  Start(4, 4);
  std::optional<WriteGuard> page = *cache().Write(Page(1));
  Put(*page, PageText(1, 1));
  std::thread([guard = std::move(page)]() mutable { guard.reset(); }).join();
  EXPECT_TRUE(cache().Write(Page(1)).ok());
  ReadGuard reader = *cache().Read(Page(1));
  std::thread([guard = std::move(reader)]() mutable { guard.Release(); }).join();
  EXPECT_TRUE(cache().Write(Page(1)).ok());
}

TEST_F(PageCacheThreadsTest, CloseFileRefusesWhileAnotherThreadWaitsForAPage) {
  Start(4, 4);
  engine().Hold({.operation = IoOperation::kRead});
  std::thread reader([&] { EXPECT_TRUE(cache().Read(Page(1)).ok()); });
  AwaitWaiters(1);
  EXPECT_EQ(cache().CloseFile(file_).code(), absl::StatusCode::kFailedPrecondition);
  engine().ReleaseAll();
  reader.join();
  EXPECT_TRUE(cache().CloseFile(file_).ok());
}

}  // namespace
}  // namespace fixpool::tests
