#ifndef FIXPOOL_ARENA_FREE_PAGE_H_
#define FIXPOOL_ARENA_FREE_PAGE_H_

#include <cstdint>

#include "fixpool/io/require_cpp20.h"

namespace fixpool::arena {

// Where a free run of pages begins: the slot of its region and the first page in it. How long
// it is, its keeper knows. A value; thread-compatible.
struct FreePage {
  uint16_t slot = 0;
  uint32_t page_index = 0;

  // One word, which is never 0, and back.
  uint64_t Pack() const { return uint64_t{1} << 63 | uint64_t{slot} << 32 | page_index; }
  static FreePage Unpack(uint64_t word) {
    return {.slot = static_cast<uint16_t>(word >> 32), .page_index = static_cast<uint32_t>(word)};
  }

  friend constexpr bool operator==(FreePage, FreePage) = default;
};

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_FREE_PAGE_H_
