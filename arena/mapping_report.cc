#include "fixpool/arena/mapping_report.h"

#include "absl/strings/str_cat.h"
#include "fixpool/arena/format_bytes.h"

namespace fixpool::arena {

std::string MappingReport::ToString() const {
  std::string text(PageBackingPhrase(got));
  if (!verified) {
    absl::StrAppend(&text, " (not verified: ", unverified_reason, ")");
  } else if (got_bytes < size_bytes) {
    absl::StrAppend(&text, " for ", FormatBytes(got_bytes), " of ", FormatBytes(size_bytes),
                    ", 4 KiB pages for the rest");
  }
  for (const RungRefusal& refusal : refusals) {
    // Pages that are too large for this mapping are nobody's fault and nothing to act on.
    if (size_bytes % PageBackingBytes(refusal.rung) != 0) continue;
    absl::StrAppend(&text, "; not ", refusal.reason);
  }
  if (numa.asked.policy != NumaPolicy::kDefault) absl::StrAppend(&text, "; ", numa.ToString());
  if (!not_reused_reason.empty()) {
    absl::StrAppend(&text, "; not at the addresses of old: ", not_reused_reason);
  }
  return text;
}

}  // namespace fixpool::arena
