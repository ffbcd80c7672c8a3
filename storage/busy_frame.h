#ifndef FIXPOOL_STORAGE_BUSY_FRAME_H_
#define FIXPOOL_STORAGE_BUSY_FRAME_H_

#include <cstdint>

#include "absl/status/status.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/page_latch.h"
#include "fixpool/storage/page_word.h"

namespace fixpool::storage {

// The rest of a Frame, while something special is the matter with it: its page is captured, on its
// way from or to the disk, waited for, or could not be read or written. Of any other frame there
// is none, and all is as in a new one of these. Guarded by the cache's lock.
struct BusyFrame {
  PageLatch latch;                 // who holds the page, while `captured`; else its word tells
  AtomicPageWord* word = nullptr;  // of the page; null: no translation leads here
  absl::Status error;              // of the failed read, or of the last write if it failed
  uint64_t write_number = 0;       // of the last write that began; no other in this cache has it
  uint32_t attached = 0;           // accesses under way that count on finding their page here
  uint16_t captures = 0;
  bool captured = false;      // the word is guarded
  bool wanted = false;        // in the way of somebody who needs a frame: captured while held
  bool watched = false;       // somebody is to hear of the page's next access: stays captured
  bool read_failed = false;   // kLoading: with `error`
  bool write_failed = false;  // dirty: the last attempt to write it failed, with `error`

  // Neither evicted nor reused. Of a page that is not captured: as far as this tells.
  bool pinned() const { return attached > 0 || latch.held(); }
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_BUSY_FRAME_H_
