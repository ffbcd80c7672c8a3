#ifndef FIXPOOL_STORAGE_PAGE_HOLD_H_
#define FIXPOOL_STORAGE_PAGE_HOLD_H_

#include "fixpool/io/require_cpp20.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/base/optimization.h"
#include "fixpool/storage/frame_index.h"
#include "fixpool/storage/page_id.h"
#include "fixpool/storage/page_latch.h"
#include "fixpool/storage/page_word.h"
#include "fixpool/storage/thread_holds.h"

namespace fixpool::storage {

struct CacheState;

// One granted latch on one page in memory: what ReadGuard and WriteGuard are made of.
//
// Move-only; dropping it releases the latch: by one compare-and-swap of the page's word, or, if
// somebody waits, under the cache's lock. While it is held the page stays where it is.
// Must not outlive the cache, whose destructor CHECKs it. Thread-compatible: may be dropped
// on another thread than the one that took it.
class [[nodiscard]] PageHold {
 public:
  // What is held.
  struct Page {
    CacheState* state = nullptr;
    AtomicPageWord* word = nullptr;
    std::byte* data = nullptr;
    PageId id;
    uint32_t size_bytes = 0;
    FrameIndex frame = kNoFrame;
  };

  PageHold() = default;  // holds nothing
  // Takes over a latch that was granted to this thread.
  PageHold(const Page& page, PageLatch::Mode mode)
      : page_(page), entry_(ThreadHolds::Took(page.word)), mode_(mode) {}
  PageHold(PageHold&& other) noexcept
      : page_(other.page_), entry_(other.entry_), mode_(other.mode_) {
    other.page_.state = nullptr;
  }
  PageHold& operator=(PageHold&& other) noexcept {
    if (this == &other) return *this;
    Release();
    page_ = other.page_;
    entry_ = other.entry_;
    mode_ = other.mode_;
    other.page_.state = nullptr;
    return *this;
  }
  ~PageHold() { Release(); }

  bool holds_page() const { return page_.state != nullptr; }
  // The rest requires that, but for Release().
  const PageId& page() const { return page_.id; }
  std::byte* data() const { return page_.data; }
  uint32_t size_bytes() const { return page_.size_bytes; }

  // The word of the page; whoever reads it while this is held sees the life that it is in.
  const AtomicPageWord* word() const { return page_.word; }

  // Requires the exclusive latch.
  void MarkDirty();

  void Release() {
    if (page_.state == nullptr) return;
    CacheState* const state = std::exchange(page_.state, nullptr);
    ThreadHolds::Dropped(entry_);
    const bool released =
        mode_ == PageLatch::Mode::kShared ? TryReleaseShared() : TryReleaseExclusive(state);
    if (ABSL_PREDICT_FALSE(!released)) ReleaseSlowly(state);
  }

 private:
  bool TryReleaseShared() {
    PageWord seen(page_.word->load(std::memory_order_relaxed));
    uint64_t bits = seen.bits();
    while (ABSL_PREDICT_TRUE(!seen.guarded())) {
      if (page_.word->compare_exchange_weak(bits, seen.MinusReader().bits(),
                                            std::memory_order_release,
                                            std::memory_order_relaxed)) {
        return true;
      }
      seen = PageWord(bits);
    }
    return false;
  }
  bool TryReleaseExclusive(CacheState* state);
  ABSL_ATTRIBUTE_NOINLINE void ReleaseSlowly(CacheState* state);

  Page page_;
  ThreadHolds::Entry* entry_ = nullptr;
  PageLatch::Mode mode_ = PageLatch::Mode::kShared;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_PAGE_HOLD_H_
