#include "fixpool/arena/ladder.h"

#include "absl/strings/str_cat.h"

namespace fixpool::arena {

Ladder Ladder::Only(PageBacking backing) {
  const auto policy = [backing](PageBacking rung) {
    return rung == backing ? RungPolicy::kRequire : RungPolicy::kNever;
  };
  return {.one_gib = policy(PageBacking::k1GiB),
          .two_mib = policy(PageBacking::k2MiB),
          .transparent = policy(PageBacking::kTransparent),
          .four_kib = policy(PageBacking::k4KiB)};
}

RungPolicy Ladder::PolicyOf(PageBacking backing) const {
  switch (backing) {
    case PageBacking::k1GiB:
      return one_gib;
    case PageBacking::k2MiB:
      return two_mib;
    case PageBacking::kTransparent:
      return transparent;
    case PageBacking::k4KiB:
      return four_kib;
  }
  return RungPolicy::kNever;
}

std::optional<PageBacking> Ladder::Best() const {
  for (const PageBacking rung : kPageBackings) {
    if (PolicyOf(rung) != RungPolicy::kNever) return rung;
  }
  return std::nullopt;
}

std::string Ladder::ToString() const {
  std::string text;
  for (const PageBacking rung : kPageBackings) {
    const RungPolicy policy = PolicyOf(rung);
    if (policy == RungPolicy::kNever) continue;
    absl::StrAppend(&text, text.empty() ? "" : ", ", PageBackingName(rung),
                    policy == RungPolicy::kRequire ? "!" : "");
  }
  return text.empty() ? "none" : text;
}

}  // namespace fixpool::arena
