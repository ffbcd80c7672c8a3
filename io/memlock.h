#ifndef FIXPOOL_IO_MEMLOCK_H_
#define FIXPOOL_IO_MEMLOCK_H_

#include "fixpool/io/require_cpp20.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace fixpool::io {

// What the kernel charges to RLIMIT_MEMLOCK, computed before anything is tried.
//
//   MemlockPlan plan{.regions = {{.size_bytes = 1 << 30, .page_bytes = 2 << 20}}, .rings = 4};
//   absl::Status enough = PreflightMemlock(plan);      // or a sentence: wanted, limit, remedy
//
// The limit is the user's, not the process's: other processes of the same user draw on it, and
// nothing tells how much. A preflight that says no is right; one that says yes can be wrong.
// CAP_IPC_LOCK (root has it) lifts the limit. All functions are thread-safe.
// Source: io_uring_register(2), io_uring_setup(2); rings are charged since Linux 6.14, the
// sizes were read off 6.18. Nothing else of the library locks memory: registered buffers are
// pinned, so that mlock(2) would add nothing.
struct MemlockPlan {
  struct Region {
    uint64_t size_bytes = 0;
    // Of the pages below: 4 KiB, or those of hugetlb, which are charged whole. Transparent
    // huge pages are charged as 4 KiB pages are.
    uint64_t page_bytes = 4096;
  };
  std::vector<Region> regions;
  uint32_t rings = 1;
  uint32_t ring_depth = 128;  // as EngineOptions::depth
  // Whether rings share one registration (FixedBufferRegistry does where the kernel can).
  bool shared = true;
};

// Bytes charged for one io_uring of `depth` requests: its two queues, in whole pages.
uint64_t RingMemlockBytes(uint32_t depth);

// Bytes charged for the plan.
uint64_t MemlockBytes(const MemlockPlan& plan);

// The limit of this process; nullopt: none, or CAP_IPC_LOCK lifts it.
std::optional<uint64_t> MemlockLimitBytes();

// ResourceExhausted: the plan is over the limit; the message is MemlockAdvice's.
absl::Status PreflightMemlock(const MemlockPlan& plan);

// "wanted 1073741824 bytes of locked memory, RLIMIT_MEMLOCK is 8388608; raise it (ulimit -l,
// LimitMEMLOCK= of systemd) or give the process CAP_IPC_LOCK": what a refused registration
// should have said.
std::string MemlockAdvice(uint64_t wanted_bytes);

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_MEMLOCK_H_
