// Many lookups in flight on one thread: each follows a chain of pages, the next of which is
// named by the one before, and waits for the disk at every step, while others go on.
#include <cstdint>
#include <cstring>
#include <iostream>
#include <optional>
#include <string>

#include "fixpool/storage/cache_progress.h"
#include "fixpool/storage/coroutine_frames.h"
#include "fixpool/storage/page_cache.h"
#include "fixpool/storage/task.h"
#include "fixpool/storage/task_scheduler.h"

using fixpool::storage::CacheProgress;
using fixpool::storage::CoroutineFrames;
using fixpool::storage::FileId;
using fixpool::storage::PageCache;
using fixpool::storage::Task;
using fixpool::storage::TaskScheduler;

constexpr uint64_t kPages = 16384;

// Follows the chain from `page` for some steps.
Task<absl::Status> Follow(TaskScheduler&, PageCache& cache, FileId file, uint64_t page) {
  for (int step = 0; step < 8; ++step) {
    auto guard = co_await cache.ReadAsync({file, page});
    if (!guard.ok()) co_return guard.status();
    std::memcpy(&page, guard->bytes().data(), sizeof(page));
  }
  co_return absl::OkStatus();
}

// Each page begins with the number of another.
absl::Status MakePages(PageCache& cache, FileId file) {
  for (uint64_t page = 0; page < kPages; ++page) {
    auto guard = cache.Make({file, page});
    if (!guard.ok()) return guard.status();
    const uint64_t next = (page * 2654435761 + 12345) % kPages;
    std::memcpy(guard->mutable_bytes().data(), &next, sizeof(next));
  }
  return cache.Flush(file);
}

absl::Status Run(const std::string& path) {
  // Memory for a quarter of the pages.
  auto cache = PageCache::Create({.memory_bytes = kPages / 4 * 4096});
  if (!cache.ok()) return cache.status();
  auto file = (*cache)->OpenFile(path, {.create = true});
  if (!file.ok()) return file.status();
  if (auto made = MakePages(**cache, *file); !made.ok()) return made;

  auto frames = CoroutineFrames::Create({.frame_count = 64});
  if (!frames.ok()) return frames.status();
  CacheProgress progress(cache->get());
  TaskScheduler scheduler(frames->get(), &progress);
  const auto before = (*cache)->Stats();
  uint64_t lookups = 0;
  auto status = scheduler.RunConcurrently(
      [&]() -> std::optional<Task<absl::Status>> {
        if (lookups == 2000) return std::nullopt;
        return Follow(scheduler, **cache, *file, lookups++ * 7919 % kPages);
      },
      {.in_flight = 64});
  if (!status.ok()) return status;
  const auto after = (*cache)->Stats();
  std::cout << lookups << " lookups, " << after.hits + after.misses - before.hits - before.misses
            << " pages looked at\n";
  return absl::OkStatus();
}

int main(int, char** argv) {
  absl::Status status = Run(argv[1] != nullptr ? argv[1] : "lookups.db");
  if (!status.ok()) std::cerr << status << '\n';
  return status.ok() ? 0 : 1;
}
