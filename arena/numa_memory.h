#ifndef FIXPOOL_ARENA_NUMA_MEMORY_H_
#define FIXPOOL_ARENA_NUMA_MEMORY_H_

#include <cstddef>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/arena/numa_placement.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::arena {

// Placing memory on NUMA nodes, by the bare system calls: libnuma is needed neither to build
// nor to run, and a program that has it may go on using it. All functions are thread-safe.
//
//   NumaReport report = PlanNuma({.policy = NumaPolicy::kInterleave}).value();
//   if (report.applied) ApplyNuma(report.asked, base, size_bytes);   // before the first touch
//   ...                                                              // fault it in
//   ReadNuma(base, size_bytes, 4096, report);
//
// Source: mbind(2), get_mempolicy(2), move_pages(2).

// Whether the placement can be asked for: its nodes filled in, sorted and checked, `applied`
// set if it is to be asked for.
// InvalidArgument: a node without memory for this process (the message names those with), or
// nodes with kDefault. For kBind, Unimplemented: a kernel without NUMA; PermissionDenied: the
// calls are forbidden, as by containers. For kInterleave the same only clears `applied`.
absl::StatusOr<NumaReport> PlanNuma(const NumaPlacement& placement);

// Makes `placement`, one that PlanNuma gave, the policy for pages that are still to come.
// Errors are those of mbind(2).
absl::Status ApplyNuma(const NumaPlacement& placement, const std::byte* base, size_t size_bytes);

// Sees on which nodes the memory is and fills in `report.got`, or `report.why_not` where the
// kernel would not say. Looks at one address for every `stride_bytes`; 4 KiB pages take about
// 70 ms for each GiB. Internal: kBind, and memory is elsewhere all the same.
absl::Status ReadNuma(const std::byte* base, size_t size_bytes, size_t stride_bytes,
                      NumaReport& report);

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_NUMA_MEMORY_H_
