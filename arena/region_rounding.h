#ifndef FIXPOOL_ARENA_REGION_ROUNDING_H_
#define FIXPOOL_ARENA_REGION_ROUNDING_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "fixpool/io/require_cpp20.h"

namespace fixpool::arena {

// How sizes become whole pages and regions. Pure functions, so thread-safe.

inline constexpr size_t kHugeBytes = size_t{2} << 20;

inline constexpr size_t RoundDown(size_t bytes, size_t unit) { return bytes / unit * unit; }

// What sizes of memory are rounded to: whole pages, and whole huge pages where one fits.
inline constexpr size_t RoundingUnit(size_t size_bytes, uint32_t page_bytes) {
  return size_bytes < kHugeBytes ? page_bytes : kHugeBytes;
}

// `size_bytes` of pages, in regions of `region_bytes`, rounded up. What cannot be rounded up is
// rounded down: no machine has that much.
inline constexpr size_t RoundUpToPages(size_t size_bytes, size_t region_bytes,
                                       uint32_t page_bytes) {
  const size_t unit =
      std::min(RoundingUnit(size_bytes, page_bytes), RoundingUnit(region_bytes, page_bytes));
  const size_t rest = size_bytes % unit;
  const size_t missing = rest == 0 ? 0 : unit - rest;
  if (missing > std::numeric_limits<size_t>::max() - size_bytes) {
    return RoundDown(size_bytes, unit);
  }
  return size_bytes + missing;
}

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_REGION_ROUNDING_H_
