#include "fixpool/arena/page_handle.h"

#include "absl/strings/str_cat.h"

namespace fixpool::arena {

std::string PageHandle::ToString() const {
  return absl::StrCat("page ", page_index, " (generation ", generation, ") of ", region.ToString());
}

}  // namespace fixpool::arena
