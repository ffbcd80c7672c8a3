// That nothing is allocated on a hit, a miss or an eviction.

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <optional>

#include "absl/base/attributes.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/storage/cache_progress.h"
#include "fixpool/storage/coroutine_frames.h"
#include "fixpool/storage/page_cache.h"
#include "fixpool/storage/task.h"
#include "fixpool/storage/task_scheduler.h"
#include "gtest/gtest.h"
#include "tests/storage/level_fixture.h"
#include "tests/storage/sealed_files.h"

namespace {
// Of this thread: an engine's own threads are their own business.
thread_local uint64_t allocations = 0;
}  // namespace

// Not inline: g++ 12 would compare them with each other and warn without cause.
ABSL_ATTRIBUTE_NOINLINE void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
ABSL_ATTRIBUTE_NOINLINE void* operator new(std::size_t size, std::align_val_t alignment) {
  ++allocations;
  const std::size_t unit = static_cast<std::size_t>(alignment);
  if (void* memory = std::aligned_alloc(unit, (size + unit - 1) / unit * unit)) return memory;
  throw std::bad_alloc();
}
ABSL_ATTRIBUTE_NOINLINE void operator delete(void* memory) noexcept { std::free(memory); }
ABSL_ATTRIBUTE_NOINLINE void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
ABSL_ATTRIBUTE_NOINLINE void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
ABSL_ATTRIBUTE_NOINLINE void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace fixpool::tests {
namespace {

using storage::Lsn;
using storage::PageId;

class PageCacheAllocationTest : public LevelTest {};
INSTANTIATE_TEST_SUITE_P(Levels, PageCacheAllocationTest, AllLevels(), LevelName);

TEST_P(PageCacheAllocationTest, NothingIsAllocatedForScans) {
  FIXPOOL_START_OR_SKIP(512);
  file_ = *cache().OpenFile(scratch_.MakeFile("data.db", FileText(2'000)));
  const auto scan = [&] {
    for (uint64_t page = 0; page < 2'000; ++page) {
      if (!cache().Read(Page(page)).ok()) std::abort();
    }
  };
  scan();  // the words of its pages
  const uint64_t allocations_before = allocations;
  scan();
  EXPECT_EQ(allocations - allocations_before, 0u);
  EXPECT_GT(cache().Stats().read_ahead, 3'000u);
}

TEST_P(PageCacheAllocationTest, NothingIsAllocatedAfterCreate) {
  FIXPOOL_START_OR_SKIP(8);
  file_ = *cache().OpenFile(scratch_.MakeFile("data.db", FileText(64)));
  const auto use_all = [&] {
    for (uint64_t page = 0; page < 64; ++page) {
      const PageId next = Page((page + 1) % 64);
      // Every other page is left to be a miss.
      if (page % 2 == 0 && !cache().Prefetch({&next, 1}).ok()) std::abort();
      auto writer = cache().Write(Page(page));
      if (!writer.ok()) std::abort();
      if (page % 3 == 0) writer->mutable_bytes()[0] ^= std::byte{1};
      writer->Release();
      if (!cache().Read(Page(page)).ok()) std::abort();
      if (page % 10 == 0 && !cache().Make(Page(page)).ok()) std::abort();
    }
  };
  use_all();  // what is made once, is made now
  const storage::CacheStats before = cache().Stats();
  const uint64_t allocations_before = allocations;
  for (int round = 0; round < 5; ++round) use_all();
  EXPECT_EQ(allocations - allocations_before, 0u);
  const storage::CacheStats after = cache().Stats();
  EXPECT_GT(after.hits, before.hits);
  EXPECT_GT(after.misses, before.misses);
  EXPECT_GT(after.evictions, before.evictions);
  EXPECT_GT(after.eviction_writes, before.eviction_writes);
}

// Read and written alone, and read ahead in joined transfers.
TEST_P(PageCacheAllocationTest, NothingIsAllocatedForSeals) {
  FIXPOOL_START_OR_SKIP(512);
  constexpr uint64_t kPages = 2'000;
  file_ = *cache().OpenFile(scratch_.File("sealed.db"), Sealed());
  for (uint64_t page = 0; page < kPages; ++page) {
    if (!cache().Make(Page(page)).ok()) std::abort();
  }
  const auto use_all = [&] {
    for (uint64_t page = 0; page < kPages; ++page) {
      if (!cache().Read(Page(page)).ok()) std::abort();
      if (page % 7 != 0) continue;
      auto writer = cache().Write(Page(page * 7919 % kPages), {.expected_lsn = Lsn::kNone});
      if (!writer.ok()) std::abort();
      writer->mutable_bytes()[0] ^= std::byte{1};
      writer->set_lsn(Lsn{page + 1});
    }
  };
  use_all();
  const storage::CacheStats before = cache().Stats();
  const uint64_t allocations_before = allocations;
  use_all();
  EXPECT_EQ(allocations - allocations_before, 0u);
  EXPECT_GT(cache().Stats().writes, before.writes + 100);
  EXPECT_GT(cache().Stats().read_ahead, before.read_ahead + 100);
  EXPECT_EQ(cache().Stats().seal_errors, 0u);
}

storage::Task<absl::Status> ChangeOrLook(storage::TaskScheduler&, storage::PageCache& cache,
                                         PageId page) {
  if (page.page_number % 3 == 0) {
    absl::StatusOr<storage::WriteGuard> guard = co_await cache.WriteAsync(page);
    if (!guard.ok()) co_return guard.status();
    guard->mutable_bytes()[0] ^= std::byte{1};
  } else {
    const absl::StatusOr<storage::ReadGuard> guard = co_await cache.ReadAsync(page);
    if (!guard.ok()) co_return guard.status();
  }
  co_return absl::OkStatus();
}

TEST_P(PageCacheAllocationTest, NothingIsAllocatedForTasks) {
  FIXPOOL_START_OR_SKIP(8);
  file_ = *cache().OpenFile(scratch_.MakeFile("data.db", FileText(64)));
  const auto frames = *storage::CoroutineFrames::Create({.frame_count = 16, .frame_bytes = 2048});
  storage::CacheProgress progress(&cache());
  storage::TaskScheduler scheduler(frames.get(), &progress);
  const auto use_all = [&] {
    uint64_t page = 0;
    const absl::Status all = scheduler.RunConcurrently(
        [&]() -> std::optional<storage::Task<absl::Status>> {
          if (page == 64) return std::nullopt;
          return ChangeOrLook(scheduler, cache(), Page(page++));
        },
        {.in_flight = 16});
    if (!all.ok()) std::abort();
  };
  use_all();
  const storage::CacheStats before = cache().Stats();
  const uint64_t allocations_before = allocations;
  for (int round = 0; round < 5; ++round) use_all();
  EXPECT_EQ(allocations - allocations_before, 0u);
  const storage::CacheStats after = cache().Stats();
  EXPECT_GT(after.misses, before.misses);
  EXPECT_GT(after.waits, before.waits);
  EXPECT_GT(after.eviction_writes, before.eviction_writes);
}

}  // namespace
}  // namespace fixpool::tests
