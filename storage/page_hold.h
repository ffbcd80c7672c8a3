#ifndef FIXPOOL_STORAGE_PAGE_HOLD_H_
#define FIXPOOL_STORAGE_PAGE_HOLD_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/base/optimization.h"
#include "fixpool/io/check.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/frame_index.h"
#include "fixpool/storage/lsn.h"
#include "fixpool/storage/page_hint.h"
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
  PageHold() = default;  // holds nothing
  // Takes over a latch on the page that was granted to this thread. `bits`: what the word was when
  // it was granted, or is expected to be; only the frame must be right.
  PageHold(CacheState* state, AtomicPageWord* word, std::byte* data, const PageId& page,
           uint32_t size_bytes, PageWord bits, PageLatch::Mode mode)
      : state_(state),
        word_(word),
        data_(data),
        entry_(ThreadHolds::Took(word)),
        page_(page),
        size_bytes_(size_bytes),
        bits_(bits),
        mode_(mode) {}
  PageHold(PageHold&& other) noexcept
      : state_(std::exchange(other.state_, nullptr)),
        word_(other.word_),
        data_(other.data_),
        entry_(other.entry_),
        page_(other.page_),
        size_bytes_(other.size_bytes_),
        bits_(other.bits_),
        mode_(other.mode_) {}
  PageHold& operator=(PageHold&& other) noexcept {
    if (this == &other) return *this;
    Release();
    state_ = std::exchange(other.state_, nullptr);
    word_ = other.word_;
    data_ = other.data_;
    entry_ = other.entry_;
    page_ = other.page_;
    size_bytes_ = other.size_bytes_;
    bits_ = other.bits_;
    mode_ = other.mode_;
    return *this;
  }
  ~PageHold() { Release(); }

  bool holds_page() const { return state_ != nullptr; }
  void CheckHoldsPage() const {
    FIXPOOL_CHECK(holds_page(),
                  "a guard was used that holds no page: it was moved from, released, or never "
                  "given one");
  }
  // The rest requires that, but for Release().
  const PageId& page() const { return page_; }
  std::byte* data() const { return data_; }
  uint32_t size_bytes() const { return size_bytes_; }

  // The word of the page; whoever reads it while this is held sees the life that it is in.
  const AtomicPageWord* word() const { return word_; }

  // See PageHint. That of the page as it will be when it is let go of.
  PageHint hint() const;
  // Whether it is the same life of the page in the same frame: nobody had it exclusively since.
  bool UnchangedSince(const PageHint& hint) const;

  // See FrameLsns.
  Lsn lsn() const;
  // Requires the exclusive latch. The page is dirty, by records of which this is one, and its LSN
  // at least that.
  void RaiseLsn(Lsn lsn);

  // Requires the exclusive latch.
  void MarkDirty();
  // Requires the exclusive latch, which becomes a shared one.
  void Downgrade();
  // Requires a shared latch, which becomes the exclusive one. False: others hold the page, or it is
  // being written to disk, or its file takes no changes; nothing has changed.
  bool TryUpgrade();

  void Release() {
    if (state_ == nullptr) return;
    CacheState* const state = std::exchange(state_, nullptr);
    ThreadHolds::Dropped(entry_);
    const bool released = mode_ == PageLatch::Mode::kShared
                              ? TryReleaseShared()
                              : TryReleaseExclusive(state, word_, bits_);
    // By value: a hold whose address nobody takes stays in the processor's registers.
    if (ABSL_PREDICT_FALSE(!released)) ReleaseSlowly(state, bits_.frame(), mode_);
  }

 private:
  // Most often the word still is what it was: then no load comes before the compare-and-swap.
  bool TryReleaseShared() {
    uint64_t bits = bits_.bits();
    do {
      if (ABSL_PREDICT_FALSE(PageWord(bits).guarded())) return false;
    } while (ABSL_PREDICT_FALSE(
        !word_->compare_exchange_weak(bits, PageWord(bits).MinusReader().bits(),
                                      std::memory_order_release, std::memory_order_relaxed)));
    return true;
  }
  static bool TryReleaseExclusive(CacheState* state, AtomicPageWord* word, PageWord expected);
  ABSL_ATTRIBUTE_NOINLINE static void ReleaseSlowly(CacheState* state, FrameIndex frame,
                                                    PageLatch::Mode mode);

  CacheState* state_ = nullptr;
  AtomicPageWord* word_ = nullptr;
  std::byte* data_ = nullptr;
  ThreadHolds::Entry* entry_ = nullptr;
  PageId page_;
  uint32_t size_bytes_ = 0;
  PageWord bits_;
  PageLatch::Mode mode_ = PageLatch::Mode::kShared;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_PAGE_HOLD_H_
