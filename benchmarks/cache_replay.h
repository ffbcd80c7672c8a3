#ifndef FIXPOOL_BENCHMARKS_CACHE_REPLAY_H_
#define FIXPOOL_BENCHMARKS_CACHE_REPLAY_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "benchmarks/page_trace.h"
#include "fixpool/storage/policy_kind.h"

namespace fixpool::benchmarks {

// What the whole cache made of a trace.
struct CacheReplay {
  uint64_t references = 0;
  uint64_t misses = 0;
  uint64_t evictions = 0;
  uint64_t page_writes = 0;  // of dirty pages that were to be evicted
  double seconds = 0;

  double miss_ratio() const {
    return references == 0 ? 0 : static_cast<double>(misses) / static_cast<double>(references);
  }
};

// Replays the trace through a storage::PageCache of as many frames, on a sparse file in `directory`
// that is gone afterwards: each reference is a Read, each write a TryWrite (a page that is not in
// memory stays where it is), by `threads` threads that take turns. Nothing but misses evicts.
// The trace's dense page numbers are those of the file.
// Errors: those of the file, the memory, the engine, and the first that an access had.
absl::StatusOr<CacheReplay> ReplayThroughCache(const PageTrace& trace, storage::PolicyKind policy,
                                               uint32_t frames, uint32_t threads,
                                               const std::string& directory);

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_CACHE_REPLAY_H_
