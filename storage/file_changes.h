#ifndef FIXPOOL_STORAGE_FILE_CHANGES_H_
#define FIXPOOL_STORAGE_FILE_CHANGES_H_

#include <algorithm>
#include <cstdint>
#include <deque>
#include <limits>
#include <optional>

#include "fixpool/io/check.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/lsn.h"
#include "fixpool/storage/page_id.h"

namespace fixpool::storage {

// Pages of one file, in a row: [first, end).
struct PageRange {
  static constexpr PageNumber kNoEnd = std::numeric_limits<PageNumber>::max();

  PageNumber first = 0;
  PageNumber end = 0;

  bool Contains(PageNumber page) const { return first <= page && page < end; }
};

// Changes of what a file consists of: that it becomes longer or shorter, or gives pages back. Whose
// turn it is, and which pages nobody may look for meanwhile.
//
//   const uint64_t ticket = changes.Enter();
//   while (!changes.HasTurn(ticket)) ...wait...;
//   changes.Close({.first = 10, .end = 20});    // who wants one of these waits
//   ...
//   changes.Open();
//   changes.Leave(ticket);
//
// One at a time, in the order in which they came: the kernel has them wait for each other anyway
// (by the lock of the inode), and so one range is all that a look for a page has to ask about.
// Enter allocates. Guarded by the cache's lock.
class FileChanges {
 public:
  // `first_unsynced`: recovery needs the log from there on to make the change. kNone: there is
  // none.
  uint64_t Enter(Lsn first_unsynced = Lsn::kNone) {
    return queue_.emplace_back(Entry{++last_ticket_, first_unsynced}).ticket;
  }
  // Also of one whose turn it is not.
  void Leave(uint64_t ticket) {
    FIXPOOL_CHECK(!closed_.has_value() || !HasTurn(ticket), "a change left pages closed");
    queue_.erase(std::find_if(queue_.begin(), queue_.end(),
                              [ticket](const Entry& entry) { return entry.ticket == ticket; }));
  }
  bool HasTurn(uint64_t ticket) const { return queue_.front().ticket == ticket; }
  // Of all that have entered and not left.
  std::optional<Lsn> oldest() const {
    std::optional<Lsn> oldest;
    for (const Entry& entry : queue_) {
      if (entry.first_unsynced == Lsn::kNone) continue;
      oldest = std::min(oldest.value_or(entry.first_unsynced), entry.first_unsynced);
    }
    return oldest;
  }
  // Somebody is at it, or waits for his turn.
  bool any() const { return !queue_.empty(); }

  // By the one whose turn it is.
  void Close(PageRange range) { closed_ = range; }
  void Open() { closed_.reset(); }
  bool IsClosed(PageNumber page) const { return closed_.has_value() && closed_->Contains(page); }
  // The first page from `page` on, which it may be itself, that is closed.
  PageNumber NextClosed(PageNumber page) const {
    if (!closed_.has_value() || page >= closed_->end) return PageRange::kNoEnd;
    return std::max(page, closed_->first);
  }

 private:
  struct Entry {
    uint64_t ticket;
    Lsn first_unsynced;
  };

  std::deque<Entry> queue_;
  uint64_t last_ticket_ = 0;
  std::optional<PageRange> closed_;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_FILE_CHANGES_H_
