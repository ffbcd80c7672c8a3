#ifndef FIXPOOL_IO_MEMORY_REGION_H_
#define FIXPOOL_IO_MEMORY_REGION_H_

#include "fixpool/io/require_cpp20.h"

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"

namespace fixpool::io {

// A contiguous piece of this process's memory that the kernel may be given.
//
//   absl::StatusOr<MemoryRegion> region = MemoryRegion::Create(base, 2 << 20);
//   region->Contains(p, 4096);
//
// Shape: 1 byte to 1 GiB (kMaxBytes: the kernel refuses a larger registered buffer),
// any base but null, base + size does not wrap. Whether the bytes are mapped is not
// asked here; the kernel finds out on registration.
// A value: copies freely, owns nothing, and says nothing about who keeps the memory
// alive (see FixedBufferRegistry::Register). Thread-compatible.
// Source for the limit: io_uring_register(2), IORING_REGISTER_BUFFERS; on Linux 6.18
// 1 GiB registers and 1 GiB + 1 byte is EFAULT.
class MemoryRegion {
 public:
  static constexpr size_t kMaxBytes = size_t{1} << 30;

  // InvalidArgument: null base, zero size, base + size past the end of the address
  // space, or more than kMaxBytes.
  static absl::StatusOr<MemoryRegion> Create(void* base, size_t size_bytes);

  std::byte* base() const { return base_; }
  size_t size_bytes() const { return size_bytes_; }
  std::byte* end() const { return base_ + size_bytes_; }

  // True if all `length_bytes` bytes at `data` lie inside. Overflow-proof for any bit
  // pattern of `data` and `length_bytes`; zero bytes at end() are inside.
  bool Contains(const void* data, size_t length_bytes) const {
    const uintptr_t offset =
        reinterpret_cast<uintptr_t>(data) - reinterpret_cast<uintptr_t>(base_);
    return offset <= size_bytes_ && length_bytes <= size_bytes_ - offset;
  }

  friend bool operator==(const MemoryRegion&, const MemoryRegion&) = default;

 private:
  MemoryRegion(std::byte* base, size_t size_bytes) : base_(base), size_bytes_(size_bytes) {}

  std::byte* base_;     // never null
  size_t size_bytes_;   // 1..kMaxBytes
};

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_MEMORY_REGION_H_
