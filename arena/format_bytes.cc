#include "fixpool/arena/format_bytes.h"

#include "absl/strings/str_cat.h"

namespace fixpool::arena {

std::string FormatBytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {" bytes", " KiB", " MiB", " GiB"};
  int unit = 0;
  while (unit < 3 && bytes != 0 && bytes % 1024 == 0) {
    bytes /= 1024;
    ++unit;
  }
  return absl::StrCat(bytes, kUnits[unit]);
}

}  // namespace fixpool::arena
