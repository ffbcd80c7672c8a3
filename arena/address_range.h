#ifndef FIXPOOL_ARENA_ADDRESS_RANGE_H_
#define FIXPOOL_ARENA_ADDRESS_RANGE_H_

#include <cstddef>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/io/fork_guard.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::arena {

// Addresses that are ours: mapped when made, unmapped when destroyed.
//
//   absl::StatusOr<AddressRange> range = AddressRange::MapOrdinary(1 << 30);
//   range->Advise(MADV_DONTFORK);
//
// Shape: readable and writable private anonymous memory, none of it faulted in. base() is a
// multiple of 2 MiB (of the page size, with larger pages). Ordinary memory has an
// inaccessible page on either side: the kernel then never joins it with a neighbour, so that
// what it reports of it is true of it alone, and running off its end is a fault. Hugetlb
// memory is never joined.
// The memory is accounted for (no MAP_NORESERVE): hugetlb pages that were promised are there
// to be faulted in, but for limits of a cgroup or a NUMA policy.
// A retired range has given its memory back and kept its addresses: they read as zeros, cannot
// be written, cost nothing but their numbers, and nothing else can be mapped there. The
// destructor unmaps them like any other.
// Move-only. Thread-compatible. In a forked child the destructor leaves the addresses alone:
// with MADV_DONTFORK they may be another's there.
class [[nodiscard]] AddressRange {
 public:
  AddressRange() = default;  // holds nothing
  AddressRange(AddressRange&& other) noexcept;
  AddressRange& operator=(AddressRange&& other) noexcept;
  ~AddressRange();

  // `size_bytes` > 0 and a multiple of 4 KiB, or of `page_bytes`. Errors are those of mmap(2)
  // (see io::ErrnoStatus), for hugetlb: ENOMEM, too few pages in the pool; EINVAL, no pages
  // of that size on this machine.
  static absl::StatusOr<AddressRange> MapOrdinary(size_t size_bytes);
  static absl::StatusOr<AddressRange> MapHugetlb(size_t size_bytes, size_t page_bytes);

  std::byte* base() const { return base_; }
  size_t size_bytes() const { return size_bytes_; }

  bool is_retired() const { return retired_; }

  // madvise(2) on all of it; 0 or the errno.
  int Advise(int advice) const;

  // Gives the memory to the kernel and keeps the addresses, in one step for whoever reads
  // there meanwhile: the old bytes or zeros, and never a signal. A range that is registered
  // with a ring must be unregistered first, or its pages stay pinned. The range is then
  // retired and kept from children (MADV_DONTFORK).
  // Errors are those of mmap(2), and FailedPrecondition in a forked child; the memory is then
  // as it was.
  absl::Status Retire();

  // Puts the memory at the addresses of `retired`, in one step for whoever reads there: zeros
  // before, the memory after. This range then has those addresses, with the guard pages that
  // they have (none where the memory before was hugetlb), its own are anybody's, and
  // `retired` holds nothing. What was advised of the memory stays true.
  // After an error both are as they were. InvalidArgument: another size, not retired, or no
  // multiple of this memory's pages. FailedPrecondition: of another process. Unimplemented:
  // hugetlb memory before Linux 5.16. Else those of mremap(2).
  absl::Status MoveOnto(AddressRange& retired);

 private:
  AddressRange(std::byte* base, size_t size_bytes, size_t guard_bytes, size_t page_bytes);

  absl::Status CheckMoveOnto(const AddressRange& retired) const;

  std::byte* base_ = nullptr;
  size_t size_bytes_ = 0;
  size_t guard_bytes_ = 0;  // on either side, not counted in size_bytes_
  size_t page_bytes_ = 0;   // of hugetlb memory, else 4096
  io::ForkGuard fork_guard_;
  bool retired_ = false;
};

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_ADDRESS_RANGE_H_
