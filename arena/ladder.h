#ifndef FIXPOOL_ARENA_LADDER_H_
#define FIXPOOL_ARENA_LADDER_H_

#include <optional>
#include <string>

#include "fixpool/arena/page_backing.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::arena {

// What a mapping does with one rung of its ladder.
enum class RungPolicy : uint8_t {
  kNever,    // not tried
  kPrefer,   // tried; where the kernel refuses, the next rung is tried
  kRequire,  // tried; where the kernel refuses, there is no mapping. No rung below is tried.
};

// Which kinds of pages a mapping may stand on. The rungs are tried from the top.
//
//   Ladder{}                                        // the best there is
//   Ladder{.one_gib = RungPolicy::kNever}           // ... without 1 GiB pages
//   Ladder{.two_mib = RungPolicy::kRequire}         // 1 GiB or 2 MiB pages, or an error
//   Ladder::Only(PageBacking::kTransparent)         // these or an error
//
// A rung whose pages do not divide the mapping's size is refused like any other, so that
// 1 GiB pages serve mappings of whole GiB only. A value; thread-compatible.
struct Ladder {
  RungPolicy one_gib = RungPolicy::kPrefer;
  RungPolicy two_mib = RungPolicy::kPrefer;
  // kRequire: all of the mapping, kPrefer: as much of it as the kernel can.
  RungPolicy transparent = RungPolicy::kPrefer;
  RungPolicy four_kib = RungPolicy::kPrefer;

  static Ladder Only(PageBacking backing);

  RungPolicy PolicyOf(PageBacking backing) const;

  // The highest rung that may be tried; nullopt if all are kNever.
  std::optional<PageBacking> Best() const;

  // "1g, 2m, thp, 4k", with "!" behind a rung that is required; "none".
  std::string ToString() const;

  friend bool operator==(const Ladder&, const Ladder&) = default;
};

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_LADDER_H_
