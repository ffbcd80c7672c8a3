#ifndef FIXPOOL_STORAGE_ZEROED_MEMORY_H_
#define FIXPOOL_STORAGE_ZEROED_MEMORY_H_

#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::storage {

// A range of addresses that reads as zeros and takes memory where it has been written to, in
// pages of the kernel's smallest size. For large tables of which little is used.
// Move-only. Thread-compatible; Discard while others read is their business.
class ZeroedMemory {
 public:
  // ResourceExhausted: no address space (RLIMIT_AS, vm.max_map_count, vm.overcommit_memory).
  static absl::StatusOr<ZeroedMemory> Reserve(size_t size_bytes);
  // The addresses alone; nothing may be touched there before MakeAccessible. For what may be much
  // larger than the memory there is: a process that locks its memory (mlockall(2)) would be given
  // all that is accessible. ResourceExhausted: as Reserve.
  static absl::StatusOr<ZeroedMemory> ReserveAddresses(size_t size_bytes);
  ZeroedMemory(ZeroedMemory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_bytes_(other.size_bytes_),
        accessible_bytes_(other.accessible_bytes_) {}
  ZeroedMemory& operator=(ZeroedMemory&&) = delete;
  ~ZeroedMemory();

  // The first `length_bytes`, rounded up to the kernel's page size, and at most all of it, can be
  // used from now on. ResourceExhausted: the kernel refuses (vm.overcommit_memory, RLIMIT_MEMLOCK);
  // nothing has changed.
  absl::Status MakeAccessible(size_t length_bytes);

  // At a multiple of the kernel's page size.
  std::byte* data() const { return data_; }
  size_t size_bytes() const { return size_bytes_; }
  size_t accessible_bytes() const { return accessible_bytes_; }

  // Gives the memory behind these bytes back; they read as zeros. Multiples of the kernel's
  // page size, accessible.
  void Discard(size_t offset_bytes, size_t length_bytes) const;

 private:
  ZeroedMemory(std::byte* data, size_t size_bytes) : data_(data), size_bytes_(size_bytes) {}

  std::byte* data_;
  size_t size_bytes_;
  size_t accessible_bytes_ = 0;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_ZEROED_MEMORY_H_
