#include "fixpool/io/region_id.h"

#include "absl/strings/str_cat.h"

namespace fixpool::io {

std::string RegionId::ToString() const {
  if (is_unregistered()) return "unregistered memory";
  return absl::StrCat("region ", slot(), " (generation ", generation(), ", registry ", owner(), ")");
}

}  // namespace fixpool::io
