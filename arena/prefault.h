#ifndef FIXPOOL_ARENA_PREFAULT_H_
#define FIXPOOL_ARENA_PREFAULT_H_

#include <cstddef>
#include <cstdint>

#include "fixpool/io/require_cpp20.h"

namespace fixpool::arena {

// The memory to fault in, and how.
struct PrefaultRequest {
  std::byte* base = nullptr;  // a multiple of page_bytes
  size_t size_bytes = 0;      // a multiple of page_bytes
  size_t page_bytes = 4096;   // of the pages that the kernel is to put there
  // Threads that work on it, the caller's among them. 0: one for every 64 MiB, as many as
  // this process has CPUs, at most 16 (clearing memory does not get faster beyond that).
  uint32_t threads = 0;
};

// Makes the kernel put zeroed pages behind all of `request`, now and not at the first
// access. 0, or the errno of the first failure:
//   EFAULT     no page can be had: the hugetlb pool is short, a cgroup's limit
//   ENOMEM     not all of it is mapped, or out of memory
//   EHWPOISON  the memory is broken
// Never SIGBUS: it is the kernel that touches the pages, on our behalf.
//
// Threads are started, with all signals blocked, and joined before it returns; where none
// can be started the caller does the work. Thread-safe.
// Source: madvise(2), MADV_POPULATE_WRITE (Linux 5.14); before, TouchThroughKernel.
int Prefault(const PrefaultRequest& request);

// Writes a zero to the first byte of each page of memory that is zeroed or fresh, by reading
// from /dev/zero into it: where a store of our own would be a SIGBUS, the kernel says EFAULT.
// 0 or an errno. The way of kernels without MADV_POPULATE_WRITE.
int TouchThroughKernel(std::byte* base, size_t size_bytes, size_t page_bytes);

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_PREFAULT_H_
