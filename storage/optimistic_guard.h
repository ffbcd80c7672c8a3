#ifndef FIXPOOL_STORAGE_OPTIMISTIC_GUARD_H_
#define FIXPOOL_STORAGE_OPTIMISTIC_GUARD_H_

#include <cstddef>
#include <cstdint>

#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/page_guard.h"
#include "fixpool/storage/page_hint.h"
#include "fixpool/storage/page_id.h"
#include "fixpool/storage/page_view.h"
#include "fixpool/storage/page_word.h"

namespace fixpool::storage {

// A look at a page that holds nobody up: neither writers nor eviction wait for it, and it writes
// nothing that others read. Afterwards one asks whether it was worth anything.
//
//   absl::StatusOr<OptimisticGuard> node = cache->ReadOptimistic({file, 42});
//   const uint64_t child = node->view().Load<uint64_t>(16);
//   if (!node->StillValid()) ...                                // again, from the root
//
// StillValid() is true only if from the moment the guard was made until that call the page was
// in the same frame, nobody had a WriteGuard of it, and the file was open: then all that the
// view showed is what the page held. See PageView for what may be done before that is known.
// A value. Thread-compatible. Must not be used after its cache.
class OptimisticGuard {
 public:
  OptimisticGuard() = default;  // of no page; never valid

  bool has_page() const { return word_ != nullptr; }
  // The rest, but for those that say whether it is valid, requires that.
  PageId page_id() const { return page_; }
  PageView view() const { return PageView(data_, size_bytes_); }
  bool StillValid() const {
    return word_ != nullptr && Load(*word_).SameLife(seen_) && versions_->Vouches(epoch_);
  }

  // The same, for who has latched the page since and wants to go on from what the look has shown:
  //   absl::StatusOr<WriteGuard> leaf = cache->Write(page);
  //   if (!leaf.ok() || !node->StillValidUnder(*leaf)) ...       // again
  // True: what the guard holds is what the view showed. (With a ReadGuard, StillValid() says that.)
  bool StillValidUnder(const WriteGuard& guard) const {
    return word_ != nullptr && guard.holds_page() && guard.hold_.word() == word_ &&
           Load(*word_).SameLifeUnderMyLatch(seen_) && versions_->Vouches(epoch_);
  }

  // To find the page again by: see PageHint.
  PageHint hint() const { return PageHint(page_, seen_.frame(), seen_.version(), epoch_); }

  // Whether the page was, when the look began, what it was when `hint` was made: nobody had it
  // exclusively in between.
  bool UnchangedSince(const PageHint& hint) const {
    return word_ != nullptr && hint.page() == page_ && hint.frame() == seen_.frame() &&
           hint.version() == seen_.version() && versions_->Vouches(hint.epoch());
  }

  // For PageCache. `epoch` is from before `seen` was.
  OptimisticGuard(const std::byte* data, uint32_t size_bytes, const PageId& page,
                  const AtomicPageWord* word, PageWord seen, const VersionEpoch* versions,
                  uint64_t epoch)
      : data_(data),
        page_(page),
        word_(word),
        seen_(seen),
        versions_(versions),
        epoch_(epoch),
        size_bytes_(size_bytes) {}

 private:
  const std::byte* data_ = nullptr;
  PageId page_;
  const AtomicPageWord* word_ = nullptr;
  PageWord seen_;
  const VersionEpoch* versions_ = nullptr;
  uint64_t epoch_ = 0;
  uint32_t size_bytes_ = 0;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_OPTIMISTIC_GUARD_H_
