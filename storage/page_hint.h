#ifndef FIXPOOL_STORAGE_PAGE_HINT_H_
#define FIXPOOL_STORAGE_PAGE_HINT_H_

#include <cstdint>
#include <type_traits>

#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/frame_index.h"
#include "fixpool/storage/page_id.h"

namespace fixpool::storage {

// Where a page was when somebody had it: for who keeps it beside a pointer to the page, and wants
// to come back.
//
//   PageHint child = guard->hint();                    // kept in the parent's node in memory, say
//   OptimisticGuard node = cache->TryReadOptimistic(child);
//   if (!node.has_page()) ...cache->Read(child.page())...
//
// What it spares. A page's bytes are found through its word, which is fetched from memory first.
// With a hint both are fetched side by side: the frame is known beforehand, and the word only has
// to confirm it. That is what a swizzled pointer costs, and a pointer that is out of date is found
// out: whether the page left, or its frame was given to another or went with its memory.
//
// Shape: 32 bytes, which may be copied as bytes. Any bit pattern is safe: it leads to the page that
// page() names, or nowhere. What it says of changes (UnchangedSince) is worth something in the
// cache that it comes from alone: ids, versions and epochs begin anew with each process, so a hint
// that was stored on disk is for finding pages and not for believing that they are the same. A
// value; thread-compatible. Holds nothing: the page may leave at any time.
class PageHint {
 public:
  constexpr PageHint() = default;  // of no page; leads nowhere
  // For guards. `version` is that of the page's word, `epoch` the cache's before it was read.
  constexpr PageHint(const PageId& page, FrameIndex frame, uint32_t version, uint64_t epoch)
      : page_(page), frame_(frame), version_(version), epoch_(epoch) {}

  constexpr const PageId& page() const { return page_; }
  // Where it was, and in which of its lives: see PageWord and VersionEpoch.
  constexpr FrameIndex frame() const { return frame_; }
  constexpr uint32_t version() const { return version_; }
  constexpr uint64_t epoch() const { return epoch_; }

  friend bool operator==(const PageHint&, const PageHint&) = default;

 private:
  PageId page_;
  FrameIndex frame_ = kNoFrame;
  uint32_t version_ = 0;
  uint64_t epoch_ = 0;
};
static_assert(sizeof(PageHint) == 32 && std::is_trivially_copyable_v<PageHint>);

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_PAGE_HINT_H_
