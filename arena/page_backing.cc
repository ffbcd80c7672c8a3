#include "fixpool/arena/page_backing.h"

namespace fixpool::arena {

absl::string_view PageBackingName(PageBacking backing) {
  switch (backing) {
    case PageBacking::k1GiB:
      return "1g";
    case PageBacking::k2MiB:
      return "2m";
    case PageBacking::kTransparent:
      return "thp";
    case PageBacking::k4KiB:
      return "4k";
  }
  return "invalid";
}

absl::string_view PageBackingPhrase(PageBacking backing) {
  switch (backing) {
    case PageBacking::k1GiB:
      return "1 GiB huge pages";
    case PageBacking::k2MiB:
      return "2 MiB huge pages";
    case PageBacking::kTransparent:
      return "transparent huge pages";
    case PageBacking::k4KiB:
      return "4 KiB pages";
  }
  return "invalid pages";
}

}  // namespace fixpool::arena
