#ifndef FIXPOOL_STORAGE_PAGE_HOLD_H_
#define FIXPOOL_STORAGE_PAGE_HOLD_H_

#include "fixpool/io/require_cpp20.h"

#include <cstddef>
#include <cstdint>

#include "fixpool/storage/frame.h"
#include "fixpool/storage/page_id.h"
#include "fixpool/storage/page_latch.h"

namespace fixpool::storage {

struct CacheState;

// One granted latch on one page in memory: what ReadGuard and WriteGuard are made of.
//
// Move-only; dropping it releases the latch. While it is held the page stays where it is.
// Must not outlive the cache, whose destructor CHECKs it. Thread-compatible: may be dropped
// on another thread than the one that took it.
class [[nodiscard]] PageHold {
 public:
  PageHold() = default;  // holds nothing
  // Takes over a latch that was granted to the thread with that token.
  PageHold(CacheState* state, FrameIndex frame, const PageId& page, PageLatch::Mode mode,
           uint64_t token);
  PageHold(PageHold&& other) noexcept;
  PageHold& operator=(PageHold&& other) noexcept;
  ~PageHold() { Release(); }

  bool holds_page() const { return state_ != nullptr; }
  // The rest requires that, but for Release().
  const PageId& page() const { return page_; }
  std::byte* data() const { return data_; }
  uint32_t size_bytes() const { return size_bytes_; }

  // Requires the exclusive latch.
  void MarkDirty();
  void Release();

 private:
  CacheState* state_ = nullptr;
  std::byte* data_ = nullptr;
  PageId page_;
  uint64_t token_ = 0;
  uint32_t size_bytes_ = 0;
  FrameIndex frame_ = kNoFrame;
  PageLatch::Mode mode_ = PageLatch::Mode::kShared;
  bool marked_dirty_ = false;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_PAGE_HOLD_H_
