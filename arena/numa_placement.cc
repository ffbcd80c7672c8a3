#include "fixpool/arena/numa_placement.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "fixpool/arena/format_bytes.h"

namespace fixpool::arena {

std::string NumaPlacement::ToString() const {
  if (policy == NumaPolicy::kDefault) return "default";
  const std::string where = nodes.empty() ? std::string("all nodes")
                                          : absl::StrCat(nodes.size() == 1 ? "node " : "nodes ",
                                                         absl::StrJoin(nodes, ", "));
  return absl::StrCat(policy == NumaPolicy::kBind ? "bind to " : "interleaved over ", where);
}

std::string NumaReport::ToString() const {
  if (asked.policy == NumaPolicy::kDefault) return "";
  if (!applied) return absl::StrCat("not ", asked.ToString(), ": ", why_not);
  if (got.empty()) return absl::StrCat(asked.ToString(), " (not verified: ", why_not, ")");
  return absl::StrCat(asked.ToString(), ": ",
                      absl::StrJoin(got, ", ", [](std::string* text, const NumaShare& share) {
                        absl::StrAppend(text, FormatBytes(share.bytes), " on node ", share.node);
                      }));
}

}  // namespace fixpool::arena
