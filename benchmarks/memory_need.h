#ifndef FIXPOOL_BENCHMARKS_MEMORY_NEED_H_
#define FIXPOOL_BENCHMARKS_MEMORY_NEED_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "benchmarks/page_io_options.h"

namespace fixpool::benchmarks {

// How much memory for pages a run needs, and whether the machine has it: asked before
// anything is made. Functions of their arguments, thread-safe.

// Bytes for page_io to take, from the text of /proc/meminfo: what is available without
// swapping, and the free hugetlb pages of the default size. 0: the text does not say.
uint64_t AvailableBytes(absl::string_view meminfo);

// The same of this machine; all of its memory if /proc/meminfo cannot be read.
uint64_t AvailableBytes();

// Pages in flight of all threads.
inline uint64_t PagesInFlight(const PageIoOptions& options) {
  return uint64_t{options.depth} * options.threads;
}

// The memory of the cache (layer cache) or of the pages in flight (layer engine).
// UsageError: more than `available_bytes`, or a cache too small to hold what is in flight
// with some room to spare (kCacheSlackPages).
absl::StatusOr<uint64_t> MemoryNeed(const PageIoOptions& options, uint64_t file_bytes,
                                    uint64_t available_bytes);

// Frames that a cache needs beside the pages in flight: so that replacement can find a
// victim that is neither in flight nor in use.
inline constexpr uint64_t kCacheSlackPages = 64;

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_MEMORY_NEED_H_
