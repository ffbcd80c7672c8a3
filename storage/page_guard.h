#ifndef FIXPOOL_STORAGE_PAGE_GUARD_H_
#define FIXPOOL_STORAGE_PAGE_GUARD_H_

#include <cstddef>
#include <optional>
#include <span>
#include <utility>

#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/lsn.h"
#include "fixpool/storage/page_hint.h"
#include "fixpool/storage/page_hold.h"
#include "fixpool/storage/page_id.h"

namespace fixpool::storage {

class WriteGuard;

// A page that one may read: it stays in memory, where it is, and nobody changes it.
//
//   absl::StatusOr<ReadGuard> page = cache->Read({file, 42});
//   if (!page.ok()) return page.status();
//   Use(page->bytes());                        // until the guard is dropped
//
// Shape: bytes() are PageCache::PayloadBytes() of the file long (of one that is not sealed that is
// PageCache::page_bytes()), and begin at a multiple of page_bytes().
// Ownership: move-only. Dropping it lets the page go; that is always safe, on any thread. It
// must not outlive its cache: the cache's destructor CHECKs, and names the page. Using a
// guard that holds no page (moved from, released, default-made) is a CHECK, too.
// Threads: thread-compatible. Any number of guards may read one page at a time, several of
// one thread among them. It counts as held by the thread that took it: that thread is refused
// a WriteGuard of the same page until then (FailedPrecondition), since it would wait for
// itself.
class [[nodiscard]] ReadGuard {
 public:
  ReadGuard() = default;                                         // holds no page
  explicit ReadGuard(PageHold hold) : hold_(std::move(hold)) {}  // for PageCache
  // Likewise, in place.
  template <typename... Args>
  explicit ReadGuard(std::in_place_t, Args&&... args) : hold_(std::forward<Args>(args)...) {}
  ReadGuard(ReadGuard&&) noexcept = default;
  ReadGuard& operator=(ReadGuard&&) noexcept = default;

  bool holds_page() const { return hold_.holds_page(); }
  PageId page_id() const {
    hold_.CheckHoldsPage();
    return hold_.page();
  }
  std::span<const std::byte> bytes() const {
    hold_.CheckHoldsPage();
    return {hold_.data(), hold_.size_bytes()};
  }

  // The last record of the caller's log that the page shows: what set_lsn was told last, or what
  // was read with the page if its file is sealed. kNone: nobody has said.
  Lsn lsn() const {
    hold_.CheckHoldsPage();
    return hold_.lsn();
  }

  // To find the page again by, and whether it still is what it was when `hint` was made: see
  // PageHint.
  PageHint hint() const {
    hold_.CheckHoldsPage();
    return hold_.hint();
  }
  bool UnchangedSince(const PageHint& hint) const {
    hold_.CheckHoldsPage();
    return hold_.UnchangedSince(hint);
  }

  // The same page, for changing, without letting anybody else at it in between. None, and this
  // guard stays as it is: there are other guards of the page (this thread's own among them), it is
  // being written to disk, the file is read-only or refuses writing after a failed sync, too many
  // pages are dirty, or this is a forked child. It never waits, since two who did would wait for each other: who cannot have it
  // lets go, calls PageCache::Write, and sees what has become of the page meanwhile. With an answer
  // this guard holds none.
  inline std::optional<WriteGuard> TryUpgrade();

  // Lets the page go now. Without effect on a guard that holds none.
  void Release() { hold_.Release(); }

 private:
  PageHold hold_;
};

// A page that one may change: nobody else reads or changes it meanwhile.
//
//   absl::StatusOr<WriteGuard> page = cache->Write({file, 42});
//   if (!page.ok()) return page.status();
//   std::ranges::copy(greeting, page->mutable_bytes().begin());
//
// Shape, ownership, threads: as ReadGuard; there is one guard at a time, and its thread is
// refused any other of the same page (FailedPrecondition). The page is not written to disk
// while the guard lives, so that what reaches the disk is what some guard left behind.
class [[nodiscard]] WriteGuard {
 public:
  WriteGuard() = default;                                         // holds no page
  explicit WriteGuard(PageHold hold) : hold_(std::move(hold)) {}  // for PageCache
  // Likewise, in place.
  template <typename... Args>
  explicit WriteGuard(std::in_place_t, Args&&... args) : hold_(std::forward<Args>(args)...) {}
  WriteGuard(WriteGuard&&) noexcept = default;
  WriteGuard& operator=(WriteGuard&&) noexcept = default;

  bool holds_page() const { return hold_.holds_page(); }
  PageId page_id() const {
    hold_.CheckHoldsPage();
    return hold_.page();
  }

  // Looking does not make the page dirty ...
  std::span<const std::byte> bytes() const {
    hold_.CheckHoldsPage();
    return {hold_.data(), hold_.size_bytes()};
  }
  // ... asking for this does, whatever is done with it: the page will be written to disk
  // before it leaves memory. The span must not be used once the guard has been dropped.
  std::span<std::byte> mutable_bytes() {
    hold_.CheckHoldsPage();
    hold_.MarkDirty();
    return {hold_.data(), hold_.size_bytes()};
  }

  // As ReadGuard.
  Lsn lsn() const {
    hold_.CheckHoldsPage();
    return hold_.lsn();
  }
  // The page shows what the caller's log tells up to there; to be said before the guard is dropped
  // whose change the record tells of. An LSN below the page's own leaves it as it is. Makes the
  // page dirty, as mutable_bytes() does, which had better come before the record: see
  // WriteAheadLog.
  void set_lsn(Lsn lsn) {
    hold_.CheckHoldsPage();
    hold_.RaiseLsn(lsn);
  }

  // As ReadGuard; the hint is of the page as this guard leaves it, changed or not.
  PageHint hint() const {
    hold_.CheckHoldsPage();
    return hold_.hint();
  }
  bool UnchangedSince(const PageHint& hint) const {
    hold_.CheckHoldsPage();
    return hold_.UnchangedSince(hint);
  }

  // The same page, for reading, without letting anybody change it in between; this guard holds none
  // afterwards. What was changed stays to be written. Others may read it from now on.
  ReadGuard Downgrade() {
    hold_.CheckHoldsPage();
    hold_.Downgrade();
    return ReadGuard(std::move(hold_));
  }

  // Lets the page go now. Without effect on a guard that holds none.
  void Release() { hold_.Release(); }

 private:
  friend class OptimisticGuard;
  PageHold hold_;
};

inline std::optional<WriteGuard> ReadGuard::TryUpgrade() {
  hold_.CheckHoldsPage();
  if (!hold_.TryUpgrade()) return std::nullopt;
  return WriteGuard(std::move(hold_));
}

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_PAGE_GUARD_H_
