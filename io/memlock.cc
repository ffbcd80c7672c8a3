#include "fixpool/io/memlock.h"

#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>

#include "absl/strings/str_cat.h"

namespace fixpool::io {
namespace {

constexpr uint64_t kPageBytes = 4096;

uint64_t RoundUp(uint64_t bytes, uint64_t unit) { return (bytes + unit - 1) / unit * unit; }

// Asked of the kernel by number: libcap would be a dependency for one bit.
bool HasIpcLock() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3]{};
  if (syscall(SYS_capget, &header, sets) != 0) return false;
  return (sets[CAP_TO_INDEX(CAP_IPC_LOCK)].effective & CAP_TO_MASK(CAP_IPC_LOCK)) != 0;
}

}  // namespace

uint64_t RingMemlockBytes(uint32_t depth) {
  // Entries are rounded to a power of two, completions are twice as many. 64 bytes a
  // submission entry; 16 a completion, 4 in the index of submissions, 64 of heads and tails.
  const uint64_t entries = std::bit_ceil(uint64_t{depth});
  return RoundUp(entries * 64, kPageBytes) + RoundUp(entries * 2 * 16 + entries * 4 + 64, kPageBytes);
}

uint64_t MemlockBytes(const MemlockPlan& plan) {
  uint64_t buffers = 0;
  for (const MemlockPlan::Region& region : plan.regions) {
    buffers += RoundUp(region.size_bytes, region.page_bytes);
  }
  return buffers * (plan.shared ? 1 : plan.rings) + RingMemlockBytes(plan.ring_depth) * plan.rings;
}

std::optional<uint64_t> MemlockLimitBytes() {
  rlimit limit{};
  if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || HasIpcLock()) {
    return std::nullopt;
  }
  return limit.rlim_cur;
}

absl::Status PreflightMemlock(const MemlockPlan& plan) {
  const std::optional<uint64_t> limit = MemlockLimitBytes();
  const uint64_t wanted = MemlockBytes(plan);
  if (!limit.has_value() || wanted <= *limit) return absl::OkStatus();
  return absl::ResourceExhaustedError(MemlockAdvice(wanted));
}

std::string MemlockAdvice(uint64_t wanted_bytes) {
  const std::optional<uint64_t> limit = MemlockLimitBytes();
  return absl::StrCat("wanted ", wanted_bytes, " bytes of locked memory, RLIMIT_MEMLOCK is ",
                      limit.has_value() ? absl::StrCat(*limit) : "no limit",
                      " for all processes of this user; raise it (ulimit -l, LimitMEMLOCK= of "
                      "systemd) or give the process CAP_IPC_LOCK");
}

}  // namespace fixpool::io
