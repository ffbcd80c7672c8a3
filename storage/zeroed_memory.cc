#include "fixpool/storage/zeroed_memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace fixpool::storage {

absl::StatusOr<ZeroedMemory> ZeroedMemory::Reserve(size_t size_bytes) {
  void* const data = mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) {
    return absl::ResourceExhaustedError(absl::StrCat("no address space for a table of ", size_bytes,
                                                     " bytes: mmap: ", std::strerror(errno),
                                                     " (see RLIMIT_AS and vm.max_map_count)"));
  }
  // One touched word must not cost 2 MiB. Where there are no huge pages this fails, rightly.
  (void)madvise(data, size_bytes, MADV_NOHUGEPAGE);
  return ZeroedMemory(static_cast<std::byte*>(data), size_bytes);
}

ZeroedMemory::~ZeroedMemory() {
  if (data_ != nullptr) munmap(data_, size_bytes_);
}

void ZeroedMemory::Discard(size_t offset_bytes, size_t length_bytes) const {
  // By the kernel, or by hand where it refuses (mlockall).
  if (madvise(data_ + offset_bytes, length_bytes, MADV_DONTNEED) == 0) return;
  std::memset(data_ + offset_bytes, 0, length_bytes);
}

}  // namespace fixpool::storage
