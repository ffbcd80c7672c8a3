#ifndef FIXPOOL_ARENA_NUMA_PLACEMENT_H_
#define FIXPOOL_ARENA_NUMA_PLACEMENT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "fixpool/io/require_cpp20.h"

namespace fixpool::arena {

enum class NumaPolicy : uint8_t {
  kDefault,     // what the process has: as a rule the node of the thread that faults it in
  kBind,        // on these nodes or not at all
  kInterleave,  // page by page on these nodes in turn; elsewhere where one of them is full
};

// On which NUMA nodes memory is to be.
//
//   NumaPlacement{}                                              // no wish
//   NumaPlacement{.policy = NumaPolicy::kBind, .nodes = {1}}     // next to those CPUs
//   NumaPlacement{.policy = NumaPolicy::kInterleave}             // spread over all nodes
//
// kBind is for a pool whose threads all run on one node, kInterleave for one whose threads run
// everywhere: no node's memory then becomes the bottleneck. A value; thread-compatible.
struct NumaPlacement {
  NumaPolicy policy = NumaPolicy::kDefault;
  // The kernel's numbers of the nodes, in any order. Empty: all that this process may use.
  // Must be empty with kDefault.
  std::vector<uint32_t> nodes = {};

  // "default", "bind to node 1", "interleaved over nodes 0, 1".
  std::string ToString() const;

  friend bool operator==(const NumaPlacement&, const NumaPlacement&) = default;
};

// How much of some memory is on one node.
struct NumaShare {
  uint32_t node = 0;
  size_t bytes = 0;

  friend bool operator==(const NumaShare&, const NumaShare&) = default;
};

// What was asked of the kernel, what it did, or why that is not known. A value.
struct NumaReport {
  // With the nodes that were meant where none were named.
  NumaPlacement asked = {};
  // Whether the kernel took the policy. False with kDefault, and where kInterleave was asked
  // of a kernel that has no NUMA or forbids the call; `why_not` then says so.
  bool applied = false;
  // By node, in ascending order, read back from the kernel. Empty with kDefault, and where it
  // would not say; `why_not` then says so.
  std::vector<NumaShare> got = {};
  std::string why_not = {};

  // "interleaved over nodes 0, 1: 512 MiB on node 0, 512 MiB on node 1"; "" with kDefault.
  std::string ToString() const;
};

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_NUMA_PLACEMENT_H_
