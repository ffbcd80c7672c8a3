#ifndef FIXPOOL_TESTS_SIMULATION_CACHE_INSPECTOR_H_
#define FIXPOOL_TESTS_SIMULATION_CACHE_INSPECTOR_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "fixpool/storage/page_cache.h"
#include "fixpool/storage/page_id.h"
#include "tests/simulation/sim_engine.h"
#include "tests/simulation/verdict.h"

namespace fixpool::storage {

struct CacheState;

// Looks behind the API of a PageCache, at rest: no call of it is under way, but for tasks that
// wait.
//
//   CacheInspector inspector(cache.get());
//   inspector.CheckTables(files, transfers, &verdict);
//   inspector.CheckHeld(held, &verdict);
//   inspector.CheckWaiters(&verdict);                  // no task is ready
//
// Takes a time that grows with the number of frames and pages; for small caches. Outlived by the
// cache. Thread-compatible.
class CacheInspector {
 public:
  // An open file, and pages from 0 that can have been in memory.
  struct Known {
    FileId file;
    uint64_t pages;
  };
  // A guard that is alive.
  struct Held {
    PageId page;
    bool exclusive = false;
    const std::byte* data = nullptr;
  };
  // A page in memory that nobody changes or moves at the moment.
  struct Sample {
    PageId page;
    const std::byte* data;
    bool clean;
  };

  explicit CacheInspector(PageCache* cache);

  // Each frame has at most one page and each page one frame; frames are counted right; and what is
  // in flight is what the engine has, or is about to get.
  void CheckTables(absl::Span<const Known> files,
                   absl::Span<const std::unique_ptr<simulation::SimTransfer>> transfers,
                   simulation::Verdict* verdict) const;
  // Pages that are held are where they were, and latched.
  void CheckHeld(absl::Span<const Held* const> held, simulation::Verdict* verdict) const;
  // Nobody waits for what is there.
  void CheckWaiters(simulation::Verdict* verdict) const;

  // Of the frame with that number, counted round; none if it holds no such page.
  std::optional<Sample> SampleOf(uint64_t number) const;
  bool IsInMemory(const PageId& page) const;
  // Being written, and anybody could read it.
  bool IsBeingWritten(const PageId& page) const;
  // A frame that anybody who needs one could have.
  bool HasFrameAtHand() const;
  // Whether those who want to change clean pages are held up.
  bool IsThrottled() const;
  size_t CountWaiters() const;
  // Frees the pages of all free frames in the arena, behind the cache's back. Returns how many.
  size_t MakeFreeFramesStale();

 private:
  struct Tally;

  CacheState& state_;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_TESTS_SIMULATION_CACHE_INSPECTOR_H_
