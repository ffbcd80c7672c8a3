#ifndef FIXPOOL_STORAGE_HIT_PATH_H_
#define FIXPOOL_STORAGE_HIT_PATH_H_

#include "fixpool/io/require_cpp20.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/base/optimization.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "absl/utility/utility.h"
#include "fixpool/io/fork_guard.h"
#include "fixpool/storage/access_options.h"
#include "fixpool/storage/frame_addresses.h"
#include "fixpool/storage/frame_index.h"
#include "fixpool/storage/hit_counters.h"
#include "fixpool/storage/page_hold.h"
#include "fixpool/storage/page_id.h"
#include "fixpool/storage/page_latch.h"
#include "fixpool/storage/page_word.h"
#include "fixpool/storage/page_words.h"
#include "fixpool/storage/replacement_policy.h"

namespace fixpool::storage {

// What an access comes to whose page is in memory and that nobody is in the way of: a look at
// the page's word, and one compare-and-swap of it, or none for an optimistic reader. No lock.
//
//   if (HitPath::Latched hit = path.TryShared(page, hint); hit.word != nullptr) ...
//
// Each Try answers with nothing where that is not so, for whatever reason (the page is
// elsewhere, someone holds it, the file is closed, this is a forked child); the way under the
// cache's lock (PageAccess) then finds out.
// The answers are a few words, of which the caller builds the guard where it is to be, and all
// is inlined: a guard that is handed from function to function through memory makes the
// processor wait for it, for longer than everything else takes.
// Threads: thread-safe. A view of parts that outlive it.
class HitPath {
 public:
  // A page that is latched: what a PageHold is made of. word null: it is not.
  struct Latched {
    AtomicPageWord* word = nullptr;
    FrameIndex frame = kNoFrame;
  };
  // A page that can be looked at. word null: it cannot.
  struct Seen {
    const AtomicPageWord* word = nullptr;
    PageWord bits;
    uint64_t epoch = 0;
  };

  HitPath(CacheState* state, const io::ForkGuard& fork_guard, const PageWords* words,
          const FrameAddresses* addresses, ReplacementPolicy* policy, HitCounters* hits,
          uint32_t page_bytes)
      : words_(words),
        addresses_(addresses),
        policy_(policy),
        hits_(hits),
        state_(state),
        page_bytes_(page_bytes),
        fork_guard_(fork_guard) {}

  CacheState* state() const { return state_; }
  uint32_t page_bytes() const { return page_bytes_; }
  std::byte* DataOf(FrameIndex frame) const { return (*addresses_)[frame]; }
  const VersionEpoch* epoch() const { return &words_->epoch(); }

  // Of what a Try found, where the caller wants it.
  template <typename Guard>
  ABSL_ATTRIBUTE_ALWAYS_INLINE absl::StatusOr<Guard> GuardOf(const Latched& hit, PageId page,
                                                             PageLatch::Mode mode) const {
    return absl::StatusOr<Guard>(absl::in_place, std::in_place, state_, hit.word, DataOf(hit.frame),
                                 page, page_bytes_, hit.frame, mode);
  }

  // Asks the processor for the words of the pages, and then for the first bytes of those pages
  // that are in memory, so that it fetches them side by side.
  void PrefetchLines(absl::Span<const PageId> pages) const {
    for (const PageId& page : pages) __builtin_prefetch(words_->Find(page).word);
    if (ABSL_PREDICT_FALSE(fork_guard_.forked())) return;
    for (const PageId& page : pages) {
      const AtomicPageWord* const word = words_->Find(page).word;
      if (word == nullptr) continue;
      const PageWord seen(word->load(std::memory_order_relaxed));
      if (seen.present()) __builtin_prefetch(DataOf(seen.frame()));
    }
  }

  ABSL_ATTRIBUTE_ALWAYS_INLINE Latched TryShared(PageId page, Hint hint) const {
    const PageWords::Place place = words_->Find(page);
    if (ABSL_PREDICT_FALSE(place.word == nullptr || fork_guard_.forked())) return {};
    PageWord seen(place.word->load(std::memory_order_relaxed));
    uint64_t bits = seen.bits();
    do {
      seen = PageWord(bits);
      if (ABSL_PREDICT_FALSE(!seen.CanAddReader())) return {};
    } while (ABSL_PREDICT_FALSE(!place.word->compare_exchange_weak(
        bits, seen.PlusReader().bits(), std::memory_order_acquire, std::memory_order_relaxed)));
    return Check(place, page, seen.frame(), PageLatch::Mode::kShared, hint);
  }

  ABSL_ATTRIBUTE_ALWAYS_INLINE Latched TryExclusive(PageId page, Hint hint) const {
    const PageWords::Place place = words_->Find(page);
    if (ABSL_PREDICT_FALSE(place.word == nullptr || !place.file->writable() ||
                           fork_guard_.forked())) {
      return {};
    }
    const PageWord seen(place.word->load(std::memory_order_relaxed));
    uint64_t bits = seen.bits();
    if (ABSL_PREDICT_FALSE(!seen.CanClose() ||
                           !place.word->compare_exchange_strong(bits, seen.Closed().bits(),
                                                                std::memory_order_acquire,
                                                                std::memory_order_relaxed))) {
      return {};
    }
    return Check(place, page, seen.frame(), PageLatch::Mode::kExclusive, hint);
  }

  ABSL_ATTRIBUTE_ALWAYS_INLINE Seen TryOptimistic(PageId page, Hint hint) const {
    const uint64_t epoch = words_->epoch().Now();
    const PageWords::Place place = words_->Find(page);
    if (ABSL_PREDICT_FALSE(place.word == nullptr || fork_guard_.forked())) return {};
    const PageWord seen = Load(*place.word);
    if (ABSL_PREDICT_FALSE(!seen.readable() ||
                           place.file->generation() != page.file.generation())) {
      return {};
    }
    CountHit(seen.frame(), hint);
    return {.word = place.word, .bits = seen, .epoch = epoch};
  }

 private:
  // Whether what was latched is what was meant: if the file has been closed, the word may be
  // that of another one's page by now.
  ABSL_ATTRIBUTE_ALWAYS_INLINE Latched Check(const PageWords::Place& place, PageId page,
                                             FrameIndex frame, PageLatch::Mode mode,
                                             Hint hint) const {
    if (ABSL_PREDICT_FALSE(place.file->generation() != page.file.generation())) {
      LetGo(page, place.word, frame, mode);
      return {};
    }
    CountHit(frame, hint);
    return {.word = place.word, .frame = frame};
  }

  ABSL_ATTRIBUTE_NOINLINE void LetGo(PageId page, AtomicPageWord* word, FrameIndex frame,
                                     PageLatch::Mode mode) const {
    PageHold(state_, word, DataOf(frame), page, page_bytes_, frame, mode).Release();
  }

  ABSL_ATTRIBUTE_ALWAYS_INLINE void CountHit(FrameIndex frame, Hint hint) const {
    policy_->Hit(frame, hint);
    hits_->Add();
  }

  const PageWords* words_;
  const FrameAddresses* addresses_;
  ReplacementPolicy* policy_;
  HitCounters* hits_;
  CacheState* state_;
  uint32_t page_bytes_;
  io::ForkGuard fork_guard_;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_HIT_PATH_H_
