#include "fixpool/arena/address_range.h"

#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fixpool/arena/format_bytes.h"
#include "fixpool/io/error.h"
#include "fixpool/io/sanitizer.h"

#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif

namespace fixpool::arena {
namespace {

constexpr size_t kGuardBytes = 4096;
constexpr size_t kAlignment = size_t{2} << 20;

absl::Status MapError(int error_number, absl::string_view call, size_t size_bytes) {
  return io::ErrnoStatus(error_number, absl::StrCat(call, " of ", FormatBytes(size_bytes)));
}

// Unmaps what of [begin, end) is outside [kept_begin, kept_end). False if the kernel would not
// (errno); [begin, end) is then what is still mapped.
bool Trim(std::byte*& begin, std::byte*& end, std::byte* kept_begin, std::byte* kept_end) {
  if (kept_begin != begin && munmap(begin, static_cast<size_t>(kept_begin - begin)) != 0) {
    return false;
  }
  begin = kept_begin;
  if (kept_end != end && munmap(kept_end, static_cast<size_t>(end - kept_end)) != 0) return false;
  end = kept_end;
  return true;
}

}  // namespace

AddressRange::AddressRange(std::byte* base, size_t size_bytes, size_t guard_bytes)
    : base_(base), size_bytes_(size_bytes), guard_bytes_(guard_bytes), owner_(getpid()) {}

AddressRange::AddressRange(AddressRange&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)),
      size_bytes_(std::exchange(other.size_bytes_, 0)),
      guard_bytes_(std::exchange(other.guard_bytes_, 0)),
      owner_(other.owner_) {}

AddressRange& AddressRange::operator=(AddressRange&& other) noexcept {
  std::swap(base_, other.base_);
  std::swap(size_bytes_, other.size_bytes_);
  std::swap(guard_bytes_, other.guard_bytes_);
  std::swap(owner_, other.owner_);
  return *this;
}

AddressRange::~AddressRange() {
  if (base_ == nullptr) return;
  // AddressSanitizer must not hold our poison against whoever gets these addresses next.
  io::sanitizer::Unpoison(base_, size_bytes_);
  if (owner_ != getpid()) return;
  // Can only fail where the process has no VMA left to cut with (vm.max_map_count); then the
  // addresses stay ours, unused.
  munmap(base_ - guard_bytes_, size_bytes_ + 2 * guard_bytes_);
}

absl::StatusOr<AddressRange> AddressRange::MapOrdinary(size_t size_bytes) {
  // Inaccessible memory costs addresses only. What is too much on either side is cut off, and
  // the middle made accessible, which is when the kernel accounts for it. Nowhere in between
  // is a gap that another thread's mmap could fall into.
  const size_t reserved_bytes = size_bytes + kAlignment + 2 * kGuardBytes;
  if (reserved_bytes < size_bytes) return MapError(ENOMEM, "mmap", size_bytes);
  void* const reserved =
      mmap(nullptr, reserved_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (reserved == MAP_FAILED) return MapError(errno, "mmap", size_bytes);
  std::byte* begin = static_cast<std::byte*>(reserved);
  std::byte* end = begin + reserved_bytes;
  const uintptr_t first = reinterpret_cast<uintptr_t>(begin) + kGuardBytes;
  std::byte* const base = begin + kGuardBytes + (kAlignment - first % kAlignment) % kAlignment;
  if (!Trim(begin, end, base - kGuardBytes, base + size_bytes + kGuardBytes) ||
      mprotect(base, size_bytes, PROT_READ | PROT_WRITE) != 0) {
    const int error = errno;
    munmap(begin, static_cast<size_t>(end - begin));
    return MapError(error, "mmap", size_bytes);
  }
  return AddressRange(base, size_bytes, kGuardBytes);
}

absl::StatusOr<AddressRange> AddressRange::MapHugetlb(size_t size_bytes, size_t page_bytes) {
  const int page_size_flag = std::countr_zero(page_bytes) << MAP_HUGE_SHIFT;
  void* const base = mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | page_size_flag, -1, 0);
  if (base == MAP_FAILED) return MapError(errno, "mmap with MAP_HUGETLB", size_bytes);
  return AddressRange(static_cast<std::byte*>(base), size_bytes, 0);
}

int AddressRange::Advise(int advice) const {
  return madvise(base_, size_bytes_, advice) == 0 ? 0 : errno;
}

}  // namespace fixpool::arena
