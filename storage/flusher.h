#ifndef FIXPOOL_STORAGE_FLUSHER_H_
#define FIXPOOL_STORAGE_FLUSHER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/lsn.h"
#include "fixpool/storage/page_transfers.h"
#include "fixpool/storage/page_writes.h"

namespace fixpool::storage {

// One flush of one file: writes the pages that are dirty, or being written, at the time of
// the call, in the order of their numbers and adjacent ones together, and then syncs the file.
// Before, it has the log made durable as far as these pages need.
//
//   absl::Status status = Flusher(state, file, deadline).Run();
//
// A page that another thread holds exclusively is waited for; readers are not disturbed.
// Pages that become dirty later are not part of it, so it ends. A write that somebody else
// had started and that fails is tried once more; one of its own that fails is the result,
// after all others have been written.
// Allocates a list of the pages. Used by one thread, once.
class Flusher {
 public:
  Flusher(CacheState& state, FileId file, io::Deadline deadline)
      : state_(state), file_id_(file), deadline_(deadline) {}
  Flusher(const Flusher&) = delete;
  Flusher& operator=(const Flusher&) = delete;

  // Errors: see PageCache::Flush.
  absl::Status Run();
  // The same for CloseFile, which has closed the file to everybody else.
  absl::Status RunToClose();
  // The same of those pages alone whose first-dirty LSN is not above `up_to`; without the sync if
  // all that was written of these is on stable storage.
  absl::Status RunUpTo(Lsn up_to);

 private:
  struct Item {
    PageNumber page_number;
    FrameIndex frame;
    bool in_flight = false;     // a write that began after the call is awaited ...
    bool mine = false;          // ... and this flush started it
    bool latch_wait = false;    // queues as a reader, and so keeps the frame, until it can start
    uint64_t write_number = 0;  // in_flight: of that write, see BusyFrame
  };
  // What a look at an item found.
  enum class Look : uint8_t { kDone, kInFlight, kLatched, kLog, kNoRoom };

  absl::Status Begin(bool closing) ABSL_LOCKS_EXCLUDED(state_.mutex);
  // Writes, and syncs if `needs_sync` says so, under the lock, once the pages are written.
  template <typename NeedsSync>
  absl::Status WriteAndSync(NeedsSync needs_sync);
  absl::Status CheckOwnGuards() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  void AddItems() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  void End() ABSL_LOCKS_EXCLUDED(state_.mutex);
  absl::Status WritePages();
  absl::Status Sync();

  // One round of WritePages: looks at the active items, then starts new ones.
  void Advance(IoBatch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  Look LookAt(Item& item, RunWriter& writer, IoBatch& batch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  Look StartItem(Item& item, const BusyFrame& busy, RunWriter& writer, IoBatch& batch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  void BeginLatchWait(Item& item) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  void EndLatchWait(Item& item) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  void Note(const absl::Status& error) { error_.Update(error); }

  CacheState& state_;
  const FileId file_id_;
  const io::Deadline deadline_;

  PageFile* file_ = nullptr;  // stays while it counts this flush
  std::vector<Item> items_;   // sorted; those before next_ were begun
  std::vector<Item> active_;  // begun and not done
  size_t next_ = 0;
  Look waits_for_ = Look::kDone;  // what holds up the last round: latches only, or transfers
  bool any_latched_ = false;
  std::optional<Lsn> up_to_;     // absent: whatever is dirty
  Lsn log_wanted_ = Lsn::kNone;  // of the pages that are to be written
  absl::Status error_;           // the first
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_FLUSHER_H_
