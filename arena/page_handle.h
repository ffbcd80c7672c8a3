#ifndef FIXPOOL_ARENA_PAGE_HANDLE_H_
#define FIXPOOL_ARENA_PAGE_HANDLE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/hash/hash.h"
#include "fixpool/io/region_id.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::arena {

// Names one page of a PageArena, from its Allocate to its Free.
//
//   PageHandle page = *arena->Allocate();
//   std::byte* bytes = arena->AddressOf(page);     // nullptr once it is freed
//   engine->Submit({.region = page.region, .data = bytes, ...});
//
// Shape: 16 bytes. The region says where, for the kernel as well; the index counts pages of
// that region from its base; the generation is odd and goes up whenever the page is allocated
// or freed, so a handle that was kept too long is recognised, though the page is in use again.
// Any bit pattern is safe to hand to an arena: it names a live page or it is an error.
// A value: copying it gives no further claim on the page. Thread-compatible.
struct PageHandle {
  io::RegionId region = {};  // names nothing
  uint32_t page_index = 0;
  uint32_t generation = 0;  // even: never the generation of a live page

  // "page 17 (generation 3) of region 3 (generation 17, registry 1)".
  std::string ToString() const;

  friend constexpr bool operator==(const PageHandle&, const PageHandle&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const PageHandle& handle) {
    return H::combine(std::move(h), handle.region, handle.page_index, handle.generation);
  }
};

static_assert(sizeof(PageHandle) == 16);
static_assert(std::is_trivially_copyable_v<PageHandle>);

}  // namespace fixpool::arena

template <>
struct std::hash<fixpool::arena::PageHandle> {
  size_t operator()(const fixpool::arena::PageHandle& handle) const noexcept {
    return absl::HashOf(handle);
  }
};

#endif  // FIXPOOL_ARENA_PAGE_HANDLE_H_
