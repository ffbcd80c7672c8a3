#ifndef FIXPOOL_ARENA_ADDRESS_RANGE_H_
#define FIXPOOL_ARENA_ADDRESS_RANGE_H_

#include <sys/types.h>

#include <cstddef>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
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

  // madvise(2) on all of it; 0 or the errno.
  int Advise(int advice) const;

 private:
  AddressRange(std::byte* base, size_t size_bytes, size_t guard_bytes);

  std::byte* base_ = nullptr;
  size_t size_bytes_ = 0;
  size_t guard_bytes_ = 0;  // on either side, not counted in size_bytes_
  pid_t owner_ = 0;
};

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_ADDRESS_RANGE_H_
