#ifndef FIXPOOL_STORAGE_TORN_PAGES_H_
#define FIXPOOL_STORAGE_TORN_PAGES_H_

#include <cstdint>

#include "absl/strings/string_view.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::storage {

// What keeps a page from being half old and half new after a crash in the middle of its write. See
// FileOptions::torn_pages and docs/torn_pages.md.
enum class TornPageProtection : uint8_t {
  kNone,         // nothing; a seal at least tells
  kBest,         // kAtomic where the file has it, else kDoubleWrite
  kAtomic,       // the device and the file system do (RWF_ATOMIC)
  kDoubleWrite,  // a copy is on disk, in a file beside, before the page is written
};

inline absl::string_view TornPageProtectionName(TornPageProtection protection) {
  switch (protection) {
    case TornPageProtection::kNone:
      return "none";
    case TornPageProtection::kBest:
      return "best";
    case TornPageProtection::kAtomic:
      return "atomic writes";
    case TornPageProtection::kDoubleWrite:
      return "double writes";
  }
  return "invalid";
}

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_TORN_PAGES_H_
