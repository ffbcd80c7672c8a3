#ifndef FIXPOOL_ARENA_PAGE_BACKING_H_
#define FIXPOOL_ARENA_PAGE_BACKING_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::arena {

// What the kernel puts behind an arena's addresses, best first: the fewer, larger pages,
// the fewer TLB misses, and the fewer pieces a registered buffer has for the kernel to
// walk on every transfer.
enum class PageBacking : uint8_t {
  k1GiB,         // hugetlb, from the pool of 1 GiB pages that the administrator set aside
  k2MiB,         // hugetlb, from the pool of 2 MiB pages
  kTransparent,  // 2 MiB pages that the kernel makes up from ordinary memory, if it can
  k4KiB,         // ordinary pages
};

// All of them, best first.
inline constexpr PageBacking kPageBackings[] = {PageBacking::k1GiB, PageBacking::k2MiB,
                                                PageBacking::kTransparent, PageBacking::k4KiB};

// "1g", "2m", "thp", "4k": stable, for logs and command lines.
absl::string_view PageBackingName(PageBacking backing);

// "1 GiB huge pages" and the like, for sentences.
absl::string_view PageBackingPhrase(PageBacking backing);

// Bytes of one such page: 1 GiB, 2 MiB, 2 MiB, 4 KiB.
constexpr size_t PageBackingBytes(PageBacking backing) {
  switch (backing) {
    case PageBacking::k1GiB:
      return size_t{1} << 30;
    case PageBacking::k2MiB:
    case PageBacking::kTransparent:
      return size_t{2} << 20;
    case PageBacking::k4KiB:
      break;
  }
  return 4096;
}

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_PAGE_BACKING_H_
