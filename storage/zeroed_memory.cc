#include "fixpool/storage/zeroed_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace fixpool::storage {

namespace {

absl::Status NoMemory(absl::string_view what, size_t size_bytes, int error_number) {
  return absl::ResourceExhaustedError(absl::StrCat(
      "no ", what, " for a table of ", size_bytes, " bytes: ", std::strerror(error_number),
      " (see RLIMIT_AS, RLIMIT_MEMLOCK, vm.max_map_count and vm.overcommit_memory)"));
}

}  // namespace

absl::StatusOr<ZeroedMemory> ZeroedMemory::ReserveAddresses(size_t size_bytes) {
  void* const data =
      mmap(nullptr, size_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) return NoMemory("address space", size_bytes, errno);
  // In a process that locks what it maps from now on (MCL_FUTURE) memory would be taken for all
  // that becomes accessible, touched or not.
  (void)munlock(data, size_bytes);
  // One touched word must not cost 2 MiB. Where there are no huge pages this fails, rightly.
  (void)madvise(data, size_bytes, MADV_NOHUGEPAGE);
  return ZeroedMemory(static_cast<std::byte*>(data), size_bytes);
}

absl::StatusOr<ZeroedMemory> ZeroedMemory::Reserve(size_t size_bytes) {
  absl::StatusOr<ZeroedMemory> memory = ReserveAddresses(size_bytes);
  if (!memory.ok()) return memory;
  if (absl::Status status = memory->MakeAccessible(size_bytes); !status.ok()) return status;
  return memory;
}

absl::Status ZeroedMemory::MakeAccessible(size_t length_bytes) {
  const size_t page_bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  length_bytes = (length_bytes + page_bytes - 1) / page_bytes * page_bytes;
  length_bytes = std::min(length_bytes, (size_bytes_ + page_bytes - 1) / page_bytes * page_bytes);
  if (length_bytes <= accessible_bytes_) return absl::OkStatus();
  if (mprotect(data_ + accessible_bytes_, length_bytes - accessible_bytes_,
               PROT_READ | PROT_WRITE) != 0) {
    return NoMemory("memory", length_bytes, errno);
  }
  accessible_bytes_ = length_bytes;
  return absl::OkStatus();
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
