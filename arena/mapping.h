#ifndef FIXPOOL_ARENA_MAPPING_H_
#define FIXPOOL_ARENA_MAPPING_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "fixpool/arena/address_range.h"
#include "fixpool/arena/ladder.h"
#include "fixpool/arena/mapping_report.h"
#include "fixpool/arena/numa_placement.h"
#include "fixpool/arena/page_backing.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::arena {

struct MappingOptions {
  // Default: the best pages that can be had.
  Ladder ladder = {};
  // Leave the memory out of core dumps (MADV_DONTDUMP). Default: a dump shows everything.
  bool dont_dump = false;
  // Threads that fault the memory in; 0: what the size and the CPUs suggest (prefault.h).
  uint32_t prefault_threads = 0;
  // Where the memory is to be: addresses that Retire gave. They are taken over, *reuse then
  // holds nothing, unless they cannot be had (another size, 1 GiB pages at a multiple of 2 MiB,
  // huge pages before Linux 5.16): the memory is then elsewhere, as base() and the report tell,
  // and *reuse is as it was. Default (or a range that holds nothing): wherever there is room.
  AddressRange* reuse = nullptr;
  // On which NUMA nodes. Default: the process's own policy.
  NumaPlacement numa = {};
};

// Memory for an arena's region: mapped, faulted in, on the best pages that its ladder allows
// and the kernel has.
//
//   auto mapping = Mapping::Create(1 << 30, {.ladder = Ladder{}});
//   (*mapping)->backing();                  // PageBacking::k2MiB, say
//   (*mapping)->report().ToString();        // ... and why not better
//   registry->Register(*MemoryRegion::Create((*mapping)->base(), 1 << 30), {.backing = *mapping});
//
// Shape: a multiple of 4 KiB, zeroed; base() is a multiple of 2 MiB, of 1 GiB on such pages.
// All of it is backed by real memory when Create returns: no later access faults, none ends
// in SIGBUS because a pool ran dry, and registering it with io_uring is fast.
// What it stands on is read back from the kernel, not assumed: see report(). One kind of
// pages a mapping, except for transparent huge pages, which the kernel may give in part.
// Ownership: unmapped with the last reference. Give it to the registry as `backing` of a
// region: it then lives for as long as the kernel may write to it. Or retired, where somebody
// may still look at it: the memory goes, the addresses stay, and a later mapping may have them.
// A forked child does not have it (MADV_DONTFORK): copying it would take a second for each
// GiB, and the kernel would go on writing into one process's copy only.
// Threads: immutable, so thread-safe. Create starts threads and joins them.
// Why in this order, and why nothing is mlocked: see docs/arena_memory.md.
// Source: mmap(2), madvise(2); a single 4 KiB page in a region keeps the kernel from treating
// a registered buffer as huge (Linux 6.12+).
class Mapping {
 public:
  // InvalidArgument: size 0 or no multiple of 4 KiB, a ladder without a rung, or a required
  // rung whose pages do not divide the size. Else the last rung's own error: ResourceExhausted
  // for want of memory or huge pages (errno payload), Unimplemented where the machine
  // has no such pages. The message has a sentence for every rung that was tried.
  // NUMA: InvalidArgument, a node that does not exist (the message names those that do). With
  // NumaPolicy::kBind also Unimplemented, a kernel without NUMA, and PermissionDenied, the
  // calls are forbidden; with kInterleave these are told by the report alone.
  // The memory of other processes is the limit: like any program that uses what it was
  // promised, one that asks for too much may be ended by the kernel's OOM killer.
  static absl::StatusOr<std::shared_ptr<Mapping>> Create(size_t size_bytes, MappingOptions options);
  static absl::StatusOr<std::shared_ptr<Mapping>> Create(size_t size_bytes) {
    return Create(size_bytes, MappingOptions());
  }

  // Gives the memory of `mapping`, which must be the last reference (CHECKed), to the kernel:
  // it counts for this process no longer, and huge pages are in their pool again. What remains
  // are addresses that read as zeros and fault when written, until they are destroyed or used
  // for another mapping (MappingOptions::reuse). Threads may read there all the while.
  // Then `mapping` is null. After an error it is as it was, its memory too: FailedPrecondition,
  // in a forked child; else those of mmap(2) (see io::ErrnoStatus), for want of kernel memory or
  // because all that this process maps is locked (mlockall) and that is limited.
  static absl::StatusOr<AddressRange> Retire(std::shared_ptr<Mapping>& mapping);

  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  std::byte* base() const { return range_.base(); }
  size_t size_bytes() const { return range_.size_bytes(); }
  PageBacking backing() const { return report_.got; }
  const MappingReport& report() const { return report_; }

 private:
  Mapping(AddressRange range, MappingReport report)
      : range_(std::move(range)), report_(std::move(report)) {}

  AddressRange range_;
  const MappingReport report_;
};

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_MAPPING_H_
