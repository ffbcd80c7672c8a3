#ifndef FIXPOOL_STORAGE_HIT_PATH_H_
#define FIXPOOL_STORAGE_HIT_PATH_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/base/optimization.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "absl/utility/utility.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/access_options.h"
#include "fixpool/storage/frame_addresses.h"
#include "fixpool/storage/frame_index.h"
#include "fixpool/storage/hit_counters.h"
#include "fixpool/storage/optimistic_guard.h"
#include "fixpool/storage/page_hint.h"
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
// Threads: thread-safe. A view of parts that outlive it: what a hit needs of them is copied here,
// because each step from pointer to pointer is a load that the next one waits for.
class HitPath {
 public:
  // A page that is latched: what a PageHold is made of. word null: it is not.
  struct Latched {
    AtomicPageWord* word = nullptr;
    PageWord bits;               // what this left in it
    uint32_t payload_bytes = 0;  // of pages of this file
  };
  // A page that can be looked at. word null: it cannot.
  struct Seen {
    const AtomicPageWord* word = nullptr;
    PageWord bits;
    uint64_t epoch = 0;
    uint32_t payload_bytes = 0;  // of pages of this file
  };

  HitPath(CacheState* state, const PageWords& words, const FrameAddresses& addresses,
          ReplacementPolicy* policy, HitCounters* hits)
      : words_(words.view()),
        addresses_(addresses.view()),
        filter_(policy->hit_filter()),
        epoch_(&words.epoch()),
        hits_(hits),
        state_(state),
        policy_(policy) {}

  CacheState* state() const { return state_; }
  std::byte* DataOf(FrameIndex frame) const { return addresses_[frame]; }
  const VersionEpoch* epoch() const { return epoch_; }

  // Of what a Try found, where the caller wants it.
  template <typename Guard>
  ABSL_ATTRIBUTE_ALWAYS_INLINE absl::StatusOr<Guard> GuardOf(const Latched& hit, PageId page,
                                                             PageLatch::Mode mode) const {
    return absl::StatusOr<Guard>(absl::in_place, std::in_place, state_, hit.word,
                                 DataOf(hit.bits.frame()), page, hit.payload_bytes, hit.bits, mode);
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE PageHold HoldOf(const Latched& hit, PageId page,
                                               PageLatch::Mode mode) const {
    return PageHold(state_, hit.word, DataOf(hit.bits.frame()), page, hit.payload_bytes, hit.bits,
                    mode);
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE OptimisticGuard GuardOf(const Seen& seen, PageId page) const {
    return OptimisticGuard(DataOf(seen.bits.frame()), seen.payload_bytes, page, seen.word,
                           seen.bits, epoch_, seen.epoch);
  }

  // Pages that are looked at, or fetched, side by side: about what a core can wait for at once.
  static constexpr size_t kSideBySide = 16;

  // Asks the processor for the words of the pages, and then for the first bytes of those pages
  // that are in memory, so that it fetches them side by side.
  void PrefetchLines(absl::Span<const PageId> pages) const {
    ForGroups(pages,
              [this](absl::Span<const PageId>, absl::Span<const PageWords::Place> places, size_t) {
                for (const PageWords::Place& place : places) {
                  if (place.word == nullptr) continue;
                  const PageWord seen(place.word->load(std::memory_order_relaxed));
                  if (seen.present()) __builtin_prefetch(DataOf(seen.frame()));
                }
              });
  }

  // TryOptimistic of all of them, with the first bytes on their way when it returns. guards is as
  // long as pages.
  void TryOptimisticMany(absl::Span<const PageId> pages, OptimisticGuard* guards) const {
    const uint64_t epoch = epoch_->Now();
    ForGroups(pages,
              [this, epoch, guards](absl::Span<const PageId> group,
                                    absl::Span<const PageWords::Place> places, size_t first) {
                for (size_t i = 0; i < group.size(); ++i) {
                  const Seen seen = SeenAt(places[i], group[i], Hint::kNormal, epoch);
                  if (ABSL_PREDICT_FALSE(seen.word == nullptr)) {
                    guards[first + i] = OptimisticGuard();
                    continue;
                  }
                  __builtin_prefetch(DataOf(seen.bits.frame()));
                  guards[first + i] = GuardOf(seen, group[i]);
                }
              });
  }

  ABSL_ATTRIBUTE_ALWAYS_INLINE Latched TryShared(PageId page, Hint hint) const {
    const PageWords::Place place = words_.Find(page);
    if (ABSL_PREDICT_FALSE(place.word == nullptr)) return {};
    const uint32_t payload_bytes = PayloadBytes(place);
    PageWord seen(place.word->load(std::memory_order_relaxed));
    uint64_t bits = seen.bits();
    do {
      seen = PageWord(bits);
      if (ABSL_PREDICT_FALSE(!seen.CanAddReader())) return {};
    } while (ABSL_PREDICT_FALSE(!place.word->compare_exchange_weak(
        bits, seen.PlusReader().bits(), std::memory_order_acquire, std::memory_order_relaxed)));
    return Check(place, page, seen.PlusReader(), payload_bytes, PageLatch::Mode::kShared, hint);
  }

  ABSL_ATTRIBUTE_ALWAYS_INLINE Latched TryExclusive(PageId page, Hint hint) const {
    const PageWords::Place place = words_.Find(page);
    if (ABSL_PREDICT_FALSE(place.word == nullptr ||
                           !place.file->writable.load(std::memory_order_relaxed))) {
      return {};
    }
    const uint32_t payload_bytes = PayloadBytes(place);
    const PageWord seen(place.word->load(std::memory_order_relaxed));
    uint64_t bits = seen.bits();
    if (ABSL_PREDICT_FALSE(!seen.CanClose() ||
                           !place.word->compare_exchange_strong(bits, seen.Closed().bits(),
                                                                std::memory_order_acquire,
                                                                std::memory_order_relaxed))) {
      return {};
    }
    return Check(place, page, seen.Closed(), payload_bytes, PageLatch::Mode::kExclusive, hint);
  }

  ABSL_ATTRIBUTE_ALWAYS_INLINE Seen TryOptimistic(PageId page, Hint hint) const {
    const uint64_t epoch = epoch_->Now();
    return SeenAt(words_.Find(page), page, hint, epoch);
  }

  // The same for pages that were there before: HintedHold and HintedGuard of what these find.
  // Nothing that the page's word says leads to the bytes; it only confirms where they are.
  ABSL_ATTRIBUTE_ALWAYS_INLINE Latched TryShared(const PageHint& hint) const {
    return Confirmed(TryShared(hint.page(), Hint::kNormal), hint, PageLatch::Mode::kShared);
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE Latched TryExclusive(const PageHint& hint) const {
    return Confirmed(TryExclusive(hint.page(), Hint::kNormal), hint, PageLatch::Mode::kExclusive);
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE Seen TryOptimistic(const PageHint& hint) const {
    const Seen seen = TryOptimistic(hint.page(), Hint::kNormal);
    if (ABSL_PREDICT_FALSE(seen.word == nullptr || seen.bits.frame() != hint.frame())) return {};
    return seen;
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE PageHold HintedHold(const Latched& hit, const PageHint& hint,
                                                   PageLatch::Mode mode) const {
    return PageHold(state_, hit.word, HintedData(hint), hint.page(), hit.payload_bytes, hit.bits,
                    mode);
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE OptimisticGuard HintedGuard(const Seen& seen,
                                                           const PageHint& hint) const {
    return OptimisticGuard(HintedData(hint), seen.payload_bytes, hint.page(), seen.word, seen.bits,
                           epoch_, seen.epoch);
  }

 private:
  // Calls visit(group, places, first) for the pages, kSideBySide at a time, when the processor has
  // been asked for all words of the group.
  template <typename Visit>
  ABSL_ATTRIBUTE_ALWAYS_INLINE void ForGroups(absl::Span<const PageId> pages, Visit visit) const {
    std::array<PageWords::Place, kSideBySide> places;
    for (size_t first = 0; first < pages.size(); first += kSideBySide) {
      const absl::Span<const PageId> group = pages.subspan(first, kSideBySide);
      for (size_t i = 0; i < group.size(); ++i) {
        places[i] = words_.Find(group[i]);
        __builtin_prefetch(places[i].word);
      }
      visit(group, absl::MakeConstSpan(places.data(), group.size()), first);
    }
  }

  // `epoch` is from before.
  ABSL_ATTRIBUTE_ALWAYS_INLINE Seen SeenAt(const PageWords::Place& place, PageId page, Hint hint,
                                           uint64_t epoch) const {
    if (ABSL_PREDICT_FALSE(place.word == nullptr)) return {};
    const uint32_t payload_bytes = PayloadBytes(place);
    const PageWord seen = Load(*place.word);
    if (ABSL_PREDICT_FALSE(!seen.readable() || !IsCurrent(place, page))) return {};
    CountHit(seen.frame(), hint);
    return {.word = place.word, .bits = seen, .epoch = epoch, .payload_bytes = payload_bytes};
  }

  // Of a frame that the word has confirmed. By way of a register of which the compiler knows
  // nothing: it would find out that the word's frame is the same, and wait for that.
  std::byte* HintedData(const PageHint& hint) const {
    FrameIndex frame = hint.frame();
    asm("" : "+r"(frame));
    return DataOf(frame);
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE Latched Confirmed(const Latched& hit, const PageHint& hint,
                                                 PageLatch::Mode mode) const {
    if (ABSL_PREDICT_TRUE(hit.word != nullptr && hit.bits.frame() == hint.frame())) return hit;
    if (hit.word != nullptr) LetGo(hint.page(), hit.word, hit.bits, mode);
    return {};
  }

  // To be asked before IsCurrent says that the file is the one that is meant, which it then was all
  // the time; and before the compare-and-swap, which would hold this load up.
  static uint32_t PayloadBytes(const PageWords::Place& place) {
    return place.file->payload_bytes.load(std::memory_order_relaxed);
  }
  static bool IsCurrent(const PageWords::Place& place, PageId page) {
    return place.file->generation.load(std::memory_order_acquire) == page.file.generation();
  }

  // Whether what was latched is what was meant: if the file has been closed, the word may be
  // that of another one's page by now.
  ABSL_ATTRIBUTE_ALWAYS_INLINE Latched Check(const PageWords::Place& place, PageId page,
                                             PageWord left, uint32_t payload_bytes,
                                             PageLatch::Mode mode, Hint hint) const {
    if (ABSL_PREDICT_FALSE(!IsCurrent(place, page))) {
      LetGo(page, place.word, left, mode);
      return {};
    }
    CountHit(left.frame(), hint);
    return {.word = place.word, .bits = left, .payload_bytes = payload_bytes};
  }

  ABSL_ATTRIBUTE_NOINLINE ABSL_ATTRIBUTE_COLD void LetGo(PageId page, AtomicPageWord* word,
                                                         PageWord left,
                                                         PageLatch::Mode mode) const {
    PageHold(state_, word, DataOf(left.frame()), page, /*size_bytes=*/0, left, mode).Release();
  }

  ABSL_ATTRIBUTE_ALWAYS_INLINE void CountHit(FrameIndex frame, Hint hint) const {
    if (ABSL_PREDICT_FALSE(!filter_.IsEnough(frame, hint))) TellPolicy(frame, hint);
    hits_->Add();
  }
  ABSL_ATTRIBUTE_NOINLINE void TellPolicy(FrameIndex frame, Hint hint) const {
    policy_->Hit(frame, hint);
  }

  // In the order of use, and most of it in one cache line.
  const PageWords::View words_;
  const FrameAddresses::View addresses_;
  const ReplacementPolicy::HitFilter filter_;
  const VersionEpoch* const epoch_;
  HitCounters* const hits_;
  CacheState* const state_;
  ReplacementPolicy* const policy_;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_HIT_PATH_H_
