#ifndef FIXPOOL_ARENA_MAPPING_REPORT_H_
#define FIXPOOL_ARENA_MAPPING_REPORT_H_

#include <cstddef>
#include <string>
#include <vector>

#include "fixpool/arena/ladder.h"
#include "fixpool/arena/numa_placement.h"
#include "fixpool/arena/page_backing.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::arena {

// Why a mapping does not stand on a kind of pages that it might have stood on.
struct RungRefusal {
  PageBacking rung = PageBacking::k4KiB;
  int error_number = 0;  // the errno; 0 where no system call failed
  // "2 MiB huge pages: wanted 512, 0 free; raise vm.nr_hugepages by 512".
  std::string reason = {};
};

// What was asked of the kernel for a mapping, what it gave, and why.
// A value; thread-compatible.
struct MappingReport {
  size_t size_bytes = 0;
  Ladder asked = {};
  PageBacking got = PageBacking::k4KiB;
  // How much stands on pages of that kind: all of it, but for kTransparent, of which the
  // kernel may give a part. The rest then stands on 4 KiB pages.
  size_t got_bytes = 0;
  // Whether `got` and `got_bytes` were read back from the kernel. Else `unverified_reason`
  // says why not (no /proc, say), `got` is what mmap and madvise accepted, and `got_bytes` is
  // 0 for kTransparent, which promises nothing.
  bool verified = false;
  std::string unverified_reason = {};
  // From the top of the ladder, down to the rung above `got`.
  std::vector<RungRefusal> refusals = {};
  NumaReport numa = {};
  // Why it is not at the addresses that were to be used again; "" where it is, or none were.
  std::string not_reused_reason = {};

  // "transparent huge pages; not 2 MiB huge pages: wanted 512, 0 free; ...". Leaves out pages
  // that are larger than the mapping or do not divide it.
  std::string ToString() const;
};

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_MAPPING_REPORT_H_
