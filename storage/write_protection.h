#ifndef FIXPOOL_STORAGE_WRITE_PROTECTION_H_
#define FIXPOOL_STORAGE_WRITE_PROTECTION_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/double_write_area.h"
#include "fixpool/storage/io_batch.h"
#include "fixpool/storage/page_id.h"

namespace fixpool::storage {

// Writes of pages whose files have double-write areas, on their way to the engine.
//
//   WriteProtection protection(state, batch);      // takes them out of `batch`
//   ... the rest of `batch` goes to the engine at once ...
//   while (protection.Next(part, status)) ... `part` goes there, or ends with `status` ...
//
// Next puts copies of the pages in the area and syncs it, and so waits for the disk: for one write
// for every 1 MiB, one sync, and a sync of the file if the area is full of copies that may be
// needed. The pages are sealed and in write-back, so nobody changes them meanwhile.
// One thread at a time is at work on an area; others that come wait, for no longer than the access
// timeout. Used by one thread, once. Large (several KiB).
class WriteProtection {
 public:
  WriteProtection(CacheState& state, IoBatch& batch) ABSL_LOCKS_EXCLUDED(state.mutex);
  WriteProtection(const WriteProtection&) = delete;
  WriteProtection& operator=(const WriteProtection&) = delete;

  // False: there are no more. `part` is empty before, and then has some of them, of one file. OK:
  // they are protected. Else they must not be written.
  bool Next(IoBatch& part, absl::Status& status) ABSL_LOCKS_EXCLUDED(state_.mutex);

 private:
  struct Held {
    io::IoRequest request;
    FileId file;
    bool taken = false;  // it was in a part
  };
  // A batch of copies that is being made.
  struct Begun {
    DoubleWriteRing::Place place;
    std::vector<PageNumber> pages;
    size_t first = 0;  // of chosen_
    size_t count = 0;
  };

  absl::Status TakeArea(FileId file);
  void GiveAreaBack();
  // Of the requests of this file, as many as one batch has room for, from the first on that is not
  // taken: behind those in chosen_.
  Begun Choose(FileId file);
  // Its place in the area. NotFound, for want of a better one: there is no room now, and others of
  // this part wait to be written.
  absl::Status Reserve(Begun& begun);
  absl::Status FreePlaces();
  absl::Status WriteCopies(Begun& begun);
  absl::Status Sync();
  absl::Status Protect(FileId file);

  CacheState& state_;
  std::vector<Held> held_;
  std::vector<size_t> chosen_;  // of held_, for the part that is being made
  std::vector<Begun> begun_;
  FileId file_id_;
  DoubleWriteArea* area_ = nullptr;  // of file_id_, which it keeps open; busy for this thread
  io::Deadline deadline_;
};

// The batch of copies that protects the write, in bits of IoRequest::user_data that TransferKind
// and index do not use. 0: none.
inline uint64_t WithCopiesIn(uint64_t user_data, uint32_t slot) {
  return user_data | uint64_t{slot + 1} << 40;
}
// For who has the completion of a write, before it is booked otherwise.
void EndProtectedWrite(CacheState& state, uint64_t user_data, bool ok)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex);

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_WRITE_PROTECTION_H_
