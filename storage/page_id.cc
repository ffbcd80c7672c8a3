#include "fixpool/storage/page_id.h"

#include "absl/strings/str_cat.h"

namespace fixpool::storage {

std::string FileId::ToString() const {
  if (generation_ == 0) return "no file";
  return absl::StrCat("file ", slot_, " (generation ", generation_, ")");
}

std::string PageId::ToString() const {
  return absl::StrCat("page ", page_number, " of ", file.ToString());
}

}  // namespace fixpool::storage
