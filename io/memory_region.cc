#include "fixpool/io/memory_region.h"

#include "absl/strings/str_format.h"

namespace fixpool::io {

absl::StatusOr<MemoryRegion> MemoryRegion::Create(void* base, size_t size_bytes) {
  if (base == nullptr) {
    return absl::InvalidArgumentError(
        "MemoryRegion: the base is null; give the address of mapped memory");
  }
  if (size_bytes == 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("MemoryRegion at %p: a region of 0 bytes has nothing to register", base));
  }
  if (size_bytes > UINTPTR_MAX - reinterpret_cast<uintptr_t>(base)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "MemoryRegion at %p: %u bytes wrap around the end of the address space", base, size_bytes));
  }
  if (size_bytes > kMaxBytes) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "MemoryRegion at %p: %u bytes, but the kernel registers at most %u (1 GiB) as one "
        "buffer; split the memory into several regions",
        base, size_bytes, kMaxBytes));
  }
  return MemoryRegion(static_cast<std::byte*>(base), size_bytes);
}

}  // namespace fixpool::io
