#ifndef FIXPOOL_IO_WIPED_MEMORY_H_
#define FIXPOOL_IO_WIPED_MEMORY_H_

#include <cstddef>
#include <utility>

#include "absl/status/statusor.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::io {

// Zeroed memory that reads as zeros again in every forked child, whatever the parent wrote there.
//
//   absl::StatusOr<WipedMemory> table = WipedMemory::Reserve(size_t{4} << 20);
//
// For what a child must not take for its own: where zeros mean "nothing here", what begins with a
// look there needs no other check of which process it is in.
// The kernel wipes it (MADV_WIPEONFORK, Linux 4.14); where that is refused pthread_atfork(3) does,
// which a bare clone(2) goes past.
// Shape: a whole number of the kernel's pages, taken from the system as they are written to.
// Move-only. Thread-compatible.
// Source: madvise(2), fork(2).
class WipedMemory {
 public:
  // Rounded up to whole pages. ResourceExhausted: no address space.
  static absl::StatusOr<WipedMemory> Reserve(size_t size_bytes);
  WipedMemory(WipedMemory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_bytes_(other.size_bytes_) {}
  WipedMemory& operator=(WipedMemory&&) = delete;
  ~WipedMemory();

  std::byte* data() const { return data_; }
  size_t size_bytes() const { return size_bytes_; }

 private:
  WipedMemory(std::byte* data, size_t size_bytes) : data_(data), size_bytes_(size_bytes) {}

  std::byte* data_;
  size_t size_bytes_;
};

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_WIPED_MEMORY_H_
