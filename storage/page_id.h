#ifndef FIXPOOL_STORAGE_PAGE_ID_H_
#define FIXPOOL_STORAGE_PAGE_ID_H_

#include "fixpool/io/require_cpp20.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <utility>

namespace fixpool::storage {

// Counts the pages of one file from 0: page n begins at byte n * page_bytes.
using PageNumber = uint64_t;

// Names one opening of one file in one page cache.
//
// PageCache::OpenFile issues it, CloseFile ends it. The generation is drawn from a counter
// of the process and not issued twice, so that the id of a file that was closed, or that
// belongs to another cache, is NotFound for ever after. Any bit pattern is safe to hand to
// the library. A value; thread-compatible.
class FileId {
 public:
  // Names nothing: every use of it is NotFound.
  constexpr FileId() = default;
  constexpr FileId(uint32_t slot, uint32_t generation) : slot_(slot), generation_(generation) {}

  constexpr uint32_t slot() const { return slot_; }
  constexpr uint32_t generation() const { return generation_; }

  // "file 3 (generation 17)".
  std::string ToString() const;

  friend constexpr auto operator<=>(FileId, FileId) = default;
  template <typename H>
  friend H AbslHashValue(H h, FileId id) {
    return H::combine(std::move(h), id.slot_, id.generation_);
  }
  friend std::ostream& operator<<(std::ostream& out, FileId id) { return out << id.ToString(); }

 private:
  uint32_t slot_ = 0;
  uint32_t generation_ = 0;  // 0 is never issued
};

// Names one page: `PageId{file, 42}`. A value; thread-compatible.
struct PageId {
  FileId file;
  PageNumber page_number = 0;

  // "page 42 of file 3 (generation 17)".
  std::string ToString() const;

  friend constexpr auto operator<=>(const PageId&, const PageId&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const PageId& id) {
    return H::combine(std::move(h), id.file, id.page_number);
  }
  friend std::ostream& operator<<(std::ostream& out, const PageId& id) {
    return out << id.ToString();
  }
};

static_assert(sizeof(FileId) == 8 && sizeof(PageId) == 16);

}  // namespace fixpool::storage

template <>
struct std::hash<fixpool::storage::FileId> {
  size_t operator()(fixpool::storage::FileId id) const noexcept {
    const uint64_t bits = uint64_t{id.generation()} << 32 | id.slot();
    return static_cast<size_t>((bits ^ (bits >> 29)) * 0x9e3779b97f4a7c15u);
  }
};

template <>
struct std::hash<fixpool::storage::PageId> {
  size_t operator()(const fixpool::storage::PageId& id) const noexcept {
    const uint64_t bits = id.page_number * 0x9e3779b97f4a7c15u;
    return std::hash<fixpool::storage::FileId>()(id.file) ^ static_cast<size_t>(bits ^ bits >> 32);
  }
};

#endif  // FIXPOOL_STORAGE_PAGE_ID_H_
