#ifndef FIXPOOL_BENCHMARKS_SUPPORT_ARENA_MEMORY_H_
#define FIXPOOL_BENCHMARKS_SUPPORT_ARENA_MEMORY_H_

#include <cstdint>
#include <string>

#include "fixpool/arena/page_backing.h"

namespace fixpool::benchmarks {

// How much memory a benchmark of a large arena takes: 8 GiB, or as many GiB as fit into three
// quarters of what is free; one region of 8 MiB if it only has to run. Thread-safe.
uint64_t ArenaBytes();

// For a benchmark's label: "8 GiB, 2 MiB huge pages", or "5 GiB, for want of more, ...".
std::string DescribeMemory(uint64_t size_bytes, arena::PageBacking backing);

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_SUPPORT_ARENA_MEMORY_H_
