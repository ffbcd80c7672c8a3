#include "fixpool/arena/arena_report.h"

#include "absl/strings/str_cat.h"
#include "fixpool/arena/format_bytes.h"
#include "fixpool/io/error.h"

namespace fixpool::arena {
namespace {

// What became of a region; of one that is not alone, what it wanted it wanted for itself.
std::string Fate(const RegionReport& region, bool alone) {
  std::string fate = absl::StrCat(FormatBytes(region.size_bytes), alone ? ": " : ", each on ",
                                  region.mapping.ToString());
  if (region.fixed) return absl::StrCat(fate, "; fixed buffer");
  absl::StrAppend(&fate, "; no fixed buffer");
  if (region.fixed_errno != 0) {
    absl::StrAppend(&fate, " (", io::ErrnoName(region.fixed_errno), ")");
  }
  return fate;
}

}  // namespace

std::string ArenaReport::ToString() const {
  std::string text = absl::StrCat("arena: ", page_count, " pages of ", FormatBytes(page_bytes),
                                  ", ", free_count, " free");
  if (retired_count != 0) absl::StrAppend(&text, ", ", retired_count, " retired");
  for (size_t begin = 0, end; begin < regions.size(); begin = end) {
    const std::string fate = Fate(regions[begin], /*alone=*/true);
    end = begin + 1;
    while (end < regions.size() && Fate(regions[end], /*alone=*/true) == fate) ++end;
    const bool alone = end - begin == 1;
    absl::StrAppend(&text, "\n  ", end - begin, alone ? " region of " : " regions of ",
                    Fate(regions[begin], alone));
  }
  return text;
}

}  // namespace fixpool::arena
