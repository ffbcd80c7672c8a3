#include "fixpool/arena/numa_memory.h"

#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "fixpool/arena/format_bytes.h"
#include "fixpool/io/error.h"

namespace fixpool::arena {
namespace {

// As many as Linux can be built for (CONFIG_NODES_SHIFT up to 10).
constexpr uint32_t kMaxNodes = 1024;
constexpr size_t kWordBits = sizeof(unsigned long) * CHAR_BIT;
// The kernel takes the number of bits to be one more than it is.
constexpr unsigned long kMaskBits = kMaxNodes + 1;
// Pages that the kernel is asked about in one call.
constexpr size_t kBatch = 1024;

using NodeMask = std::array<unsigned long, kMaxNodes / kWordBits>;

NodeMask MaskOf(const std::vector<uint32_t>& nodes) {
  NodeMask mask = {};
  for (const uint32_t node : nodes) mask[node / kWordBits] |= 1ul << (node % kWordBits);
  return mask;
}

std::vector<uint32_t> NodesOf(const NodeMask& mask) {
  std::vector<uint32_t> nodes;
  for (uint32_t node = 0; node < kMaxNodes; ++node) {
    if ((mask[node / kWordBits] >> (node % kWordBits) & 1) != 0) nodes.push_back(node);
  }
  return nodes;
}

int KernelMode(NumaPolicy policy) {
  return policy == NumaPolicy::kBind ? MPOL_BIND : MPOL_INTERLEAVE;
}

std::string WhyNot(int error_number, absl::string_view call) {
  if (error_number == ENOSYS) return "this kernel has no NUMA";
  if (error_number == EPERM) {
    return absl::StrCat(call, " is forbidden (EPERM), as containers do without CAP_SYS_NICE");
  }
  return absl::StrCat(call, " failed with ", io::ErrnoName(error_number));
}

// The nodes whose memory this process may use, or an errno.
std::pair<std::vector<uint32_t>, int> AllowedNodes() {
  NodeMask mask = {};
  if (syscall(SYS_get_mempolicy, nullptr, mask.data(), kMaskBits, 0, MPOL_F_MEMS_ALLOWED) != 0) {
    return {{}, errno};
  }
  return {NodesOf(mask), 0};
}

// Whether the kernel has that policy for the memory: "" or a reason.
std::string CheckPolicy(const NumaPlacement& placement, const std::byte* base) {
  int mode = 0;
  NodeMask mask = {};
  if (syscall(SYS_get_mempolicy, &mode, mask.data(), kMaskBits, base, MPOL_F_ADDR) != 0) {
    return WhyNot(errno, "get_mempolicy");
  }
  if (mode == KernelMode(placement.policy) && NodesOf(mask) == placement.nodes) return "";
  return absl::StrCat("the kernel has policy ", mode, " over nodes ",
                      absl::StrJoin(NodesOf(mask), ", "));
}

// Adds up, by node, what one batch of addresses stands on: "" or a reason.
std::string CountBatch(const std::byte* base, size_t count, size_t stride_bytes,
                       std::map<uint32_t, size_t>& pages) {
  std::array<const void*, kBatch> addresses;
  std::array<int, kBatch> nodes;
  for (size_t i = 0; i < count; ++i) addresses[i] = base + i * stride_bytes;
  if (syscall(SYS_move_pages, 0, count, addresses.data(), nullptr, nodes.data(), 0) != 0) {
    return WhyNot(errno, "move_pages");
  }
  for (size_t i = 0; i < count; ++i) {
    if (nodes[i] < 0) return WhyNot(-nodes[i], "move_pages for a page");
    ++pages[static_cast<uint32_t>(nodes[i])];
  }
  return "";
}

}  // namespace

absl::StatusOr<NumaReport> PlanNuma(const NumaPlacement& placement) {
  NumaReport report{.asked = placement};
  std::vector<uint32_t>& nodes = report.asked.nodes;
  if (placement.policy == NumaPolicy::kDefault) {
    if (nodes.empty()) return report;
    return absl::InvalidArgumentError("NUMA nodes are named, but no policy for them");
  }
  const auto [allowed, error] = AllowedNodes();
  if (error != 0) {
    report.why_not = WhyNot(error, "get_mempolicy");
    if (placement.policy == NumaPolicy::kInterleave) return report;
    return io::ErrnoStatus(error,
                           absl::StrCat("NUMA, ", placement.ToString(), ": ", report.why_not));
  }
  if (nodes.empty()) nodes = allowed;
  std::sort(nodes.begin(), nodes.end());
  nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
  for (const uint32_t node : nodes) {
    if (std::binary_search(allowed.begin(), allowed.end(), node)) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "NUMA node ", node,
        " has no memory for this process; those that have: ", absl::StrJoin(allowed, ", ")));
  }
  report.applied = true;
  return report;
}

absl::Status ApplyNuma(const NumaPlacement& placement, const std::byte* base, size_t size_bytes) {
  const NodeMask mask = MaskOf(placement.nodes);
  if (syscall(SYS_mbind, base, size_bytes, KernelMode(placement.policy), mask.data(), kMaskBits,
              0) == 0) {
    return absl::OkStatus();
  }
  const int error = errno;
  return io::ErrnoStatus(
      error, absl::StrCat("NUMA, ", placement.ToString(), ": ", WhyNot(error, "mbind")));
}

absl::Status ReadNuma(const std::byte* base, size_t size_bytes, size_t stride_bytes,
                      NumaReport& report) {
  report.why_not = CheckPolicy(report.asked, base);
  std::map<uint32_t, size_t> pages;
  for (size_t offset = 0; offset < size_bytes && report.why_not.empty();
       offset += kBatch * stride_bytes) {
    const size_t count = std::min(kBatch, (size_bytes - offset) / stride_bytes);
    report.why_not = CountBatch(base + offset, count, stride_bytes, pages);
  }
  if (!report.why_not.empty()) return absl::OkStatus();
  for (const auto& [node, count] : pages) {
    report.got.push_back({.node = node, .bytes = count * stride_bytes});
    const std::vector<uint32_t>& wanted = report.asked.nodes;
    if (report.asked.policy == NumaPolicy::kBind &&
        !std::binary_search(wanted.begin(), wanted.end(), node)) {
      return absl::InternalError(
          absl::StrCat("NUMA, ", report.asked.ToString(), ": the kernel put ",
                       FormatBytes(count * stride_bytes), " on node ", node));
    }
  }
  return absl::OkStatus();
}

}  // namespace fixpool::arena
