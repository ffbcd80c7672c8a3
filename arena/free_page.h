#ifndef FIXPOOL_ARENA_FREE_PAGE_H_
#define FIXPOOL_ARENA_FREE_PAGE_H_

#include <cstdint>

#include "fixpool/io/require_cpp20.h"

namespace fixpool::arena {

// Where a free run of pages begins: the slot of its region and the first page in it; and the
// generation that it is in, where its keeper cares. How long it is, its keeper knows. A value;
// thread-compatible.
struct FreePage {
  uint16_t slot = 0;        // less than 2^14, as many buffers as a ring can have
  uint32_t page_index = 0;  // less than 2^18, 1 GiB of 4 KiB
  uint32_t generation = 0;  // even

  // One word, and back.
  uint64_t Pack() const { return uint64_t{slot} << 50 | uint64_t{page_index} << 32 | generation; }
  static FreePage Unpack(uint64_t word) {
    return {.slot = static_cast<uint16_t>(word >> 50),
            .page_index = static_cast<uint32_t>(word >> 32) & ((1u << 18) - 1),
            .generation = static_cast<uint32_t>(word)};
  }

  friend constexpr bool operator==(FreePage, FreePage) = default;
};

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_FREE_PAGE_H_
