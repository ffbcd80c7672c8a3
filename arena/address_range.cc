#include "fixpool/arena/address_range.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fixpool/arena/format_bytes.h"
#include "fixpool/io/error.h"
#include "fixpool/io/sanitizer.h"

#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

namespace fixpool::arena {
namespace {

constexpr size_t kSmallPageBytes = 4096;
constexpr size_t kGuardBytes = kSmallPageBytes;
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

// What retired addresses stand on: a child gets none of it, strict overcommit counts none of
// it. `placement`: MAP_FIXED, MAP_FIXED_NOREPLACE. 0 or the errno.
//
// The bare system call, because to ThreadSanitizer mmap() is a write, and so a race with the
// readers for whose sake all this is done.
int MapZeros(std::byte* base, size_t size_bytes, int placement) {
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | placement;
  if (syscall(SYS_mmap, base, size_bytes, PROT_READ, flags, -1, 0) == -1) return errno;
  // Where the kernel refuses, children have some zeros that they do not need.
  (void)madvise(base, size_bytes, MADV_DONTFORK);
  return 0;
}

// Asked before the first try, because a kernel that cannot finds out too late: it has then
// unmapped what is at the new addresses.
bool KernelMovesHugetlb() {
  utsname name;
  int major = 0;
  int minor = 0;
  if (uname(&name) != 0 || std::sscanf(name.release, "%d.%d", &major, &minor) != 2) return false;
  return major > 5 || (major == 5 && minor >= 16);
}

}  // namespace

AddressRange::AddressRange(std::byte* base, size_t size_bytes, size_t guard_bytes,
                           size_t page_bytes)
    : base_(base),
      size_bytes_(size_bytes),
      guard_bytes_(guard_bytes),
      page_bytes_(page_bytes) {}

AddressRange::AddressRange(AddressRange&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)),
      size_bytes_(std::exchange(other.size_bytes_, 0)),
      guard_bytes_(std::exchange(other.guard_bytes_, 0)),
      page_bytes_(other.page_bytes_),
      fork_guard_(other.fork_guard_),
      retired_(std::exchange(other.retired_, false)) {}

AddressRange& AddressRange::operator=(AddressRange&& other) noexcept {
  std::swap(base_, other.base_);
  std::swap(size_bytes_, other.size_bytes_);
  std::swap(guard_bytes_, other.guard_bytes_);
  std::swap(page_bytes_, other.page_bytes_);
  std::swap(fork_guard_, other.fork_guard_);
  std::swap(retired_, other.retired_);
  return *this;
}

AddressRange::~AddressRange() {
  if (base_ == nullptr) return;
  // AddressSanitizer must not hold our poison against whoever gets these addresses next.
  io::sanitizer::Unpoison(base_, size_bytes_);
  if (fork_guard_.forked()) return;
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
  return AddressRange(base, size_bytes, kGuardBytes, kSmallPageBytes);
}

absl::StatusOr<AddressRange> AddressRange::MapHugetlb(size_t size_bytes, size_t page_bytes) {
  const int page_size_flag = std::countr_zero(page_bytes) << MAP_HUGE_SHIFT;
  void* const base = mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | page_size_flag, -1, 0);
  if (base == MAP_FAILED) return MapError(errno, "mmap with MAP_HUGETLB", size_bytes);
  return AddressRange(static_cast<std::byte*>(base), size_bytes, 0, page_bytes);
}

int AddressRange::Advise(int advice) const {
  return madvise(base_, size_bytes_, advice) == 0 ? 0 : errno;
}

absl::Status AddressRange::Retire() {
  if (fork_guard_.forked()) {
    return absl::FailedPreconditionError("memory of the parent process cannot be retired here");
  }
  // Whatever refuses this (limits of memory and of mappings) does so before it unmaps.
  if (const int error = MapZeros(base_, size_bytes_, MAP_FIXED); error != 0) {
    return MapError(error, "mmap over memory to be retired,", size_bytes_);
  }
  io::sanitizer::Unpoison(base_, size_bytes_);
  page_bytes_ = kSmallPageBytes;
  retired_ = true;
  return absl::OkStatus();
}

absl::Status AddressRange::CheckMoveOnto(const AddressRange& retired) const {
  if (!retired.retired_) return absl::InvalidArgumentError("those addresses are not retired");
  if (fork_guard_.forked() || retired.fork_guard_.forked()) {
    return absl::FailedPreconditionError("those addresses are of the parent process");
  }
  if (retired.size_bytes_ != size_bytes_) {
    return absl::InvalidArgumentError(absl::StrCat("those addresses are ",
                                                   FormatBytes(retired.size_bytes_), ", not ",
                                                   FormatBytes(size_bytes_)));
  }
  if (reinterpret_cast<uintptr_t>(retired.base_) % page_bytes_ != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("those addresses do not begin at a multiple of ", FormatBytes(page_bytes_)));
  }
  if (page_bytes_ != kSmallPageBytes && !KernelMovesHugetlb()) {
    return absl::UnimplementedError("huge pages can be moved since Linux 5.16");
  }
  return absl::OkStatus();
}

absl::Status AddressRange::MoveOnto(AddressRange& retired) {
  if (absl::Status status = CheckMoveOnto(retired); !status.ok()) return status;
  if (mremap(base_, size_bytes_, size_bytes_, MREMAP_MAYMOVE | MREMAP_FIXED, retired.base_) ==
      MAP_FAILED) {
    const int error = errno;
    // A kernel that runs out of memory for its own structures may have unmapped `retired`
    // already; EEXIST is the answer where it has not.
    (void)MapZeros(retired.base_, size_bytes_, MAP_FIXED_NOREPLACE);
    return MapError(error, "mremap", size_bytes_);
  }
  if (guard_bytes_ > 0) {
    // One by one: what was between them may be another's by now.
    munmap(base_ - guard_bytes_, guard_bytes_);
    munmap(base_ + size_bytes_, guard_bytes_);
  }
  base_ = std::exchange(retired.base_, nullptr);
  guard_bytes_ = std::exchange(retired.guard_bytes_, 0);
  retired.size_bytes_ = 0;
  retired.retired_ = false;
  return absl::OkStatus();
}

}  // namespace fixpool::arena
