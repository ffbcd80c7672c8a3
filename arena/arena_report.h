#ifndef FIXPOOL_ARENA_ARENA_REPORT_H_
#define FIXPOOL_ARENA_ARENA_REPORT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "fixpool/arena/mapping_report.h"
#include "fixpool/io/region_id.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::arena {

// What became of one region of an arena. A value; thread-compatible.
struct RegionReport {
  io::RegionId id = {};
  size_t size_bytes = 0;
  // The pages of the kernel that it stands on: asked, got, and why.
  MappingReport mapping = {};
  // Whether the kernel holds it as a fixed buffer, in every ring that is attached to the
  // registry; if not, the errno of the refusal (ENOMEM: RLIMIT_MEMLOCK), and its transfers
  // go the plain way.
  bool fixed = false;
  int fixed_errno = 0;
};

// What an arena is, for statistics and for people. A value; thread-compatible.
struct ArenaReport {
  uint32_t page_bytes = 0;
  size_t page_count = 0;
  size_t free_count = 0;     // as PageArena::free_count
  size_t retired_count = 0;  // pages that have used up their generations
  std::vector<RegionReport> regions = {};

  // A line for the pages, and one for each run of regions that had the same fate:
  //   arena: 262144 pages of 4 KiB, 262144 free
  //     1 region of 1 GiB: 2 MiB huge pages; fixed buffer
  std::string ToString() const;
};

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_ARENA_REPORT_H_
