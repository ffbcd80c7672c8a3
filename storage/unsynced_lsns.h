#ifndef FIXPOOL_STORAGE_UNSYNCED_LSNS_H_
#define FIXPOOL_STORAGE_UNSYNCED_LSNS_H_

#include <algorithm>
#include <optional>

#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/lsn.h"

namespace fixpool::storage {

// The oldest change of a file that was written and that no sync has covered: of all pages that were
// written, two values say it. Changes that wait for a sync to begin are apart from those that one
// in flight covers, because it says nothing of what was written after it began.
// Guarded by the cache's lock.
class UnsyncedLsns {
 public:
  // A page whose first change since it was last on stable storage is that of `first_dirty`.
  void Add(Lsn first_dirty) { Lower(waiting_, first_dirty); }
  // At most one sync at a time.
  void BeginSync() {
    if (waiting_.has_value()) Lower(syncing_, *waiting_);
    waiting_.reset();
  }
  // Of a failed one nothing is known; what it should have covered never counts as covered.
  void EndSync(bool ok) {
    if (ok) syncing_.reset();
  }
  // None: all that was written is on stable storage.
  std::optional<Lsn> oldest() const {
    if (!syncing_.has_value()) return waiting_;
    return waiting_.has_value() ? std::min(*waiting_, *syncing_) : *syncing_;
  }

 private:
  static void Lower(std::optional<Lsn>& least, Lsn lsn) {
    least = least.has_value() ? std::min(*least, lsn) : lsn;
  }

  std::optional<Lsn> waiting_;
  std::optional<Lsn> syncing_;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_UNSYNCED_LSNS_H_
