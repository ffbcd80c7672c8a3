#ifndef FIXPOOL_STORAGE_FRAME_H_
#define FIXPOOL_STORAGE_FRAME_H_

#include "fixpool/io/require_cpp20.h"

#include <cstdint>

#include "absl/status/status.h"
#include "fixpool/arena/page_handle.h"
#include "fixpool/storage/frame_index.h"
#include "fixpool/storage/page_id.h"
#include "fixpool/storage/page_latch.h"
#include "fixpool/storage/page_word.h"

namespace fixpool::storage {

enum class FrameState : uint8_t {
  kFree,        // holds no page
  kLoading,     // a read is in flight; nobody looks at the bytes
  kLoadFailed,  // the read failed; in no translation; kept until all who waited have the error
  kResident,    // holds its page
};

// One page's worth of memory and what it holds. A value of FrameTable, which keeps counts of
// frames by kind: fields are changed through FrameTable::Edit alone. Guarded by the cache's
// lock, but for the word.
struct Frame {
  PageId page;               // meaningless while kFree
  arena::PageHandle handle;  // checked before each transfer
  FrameState state = FrameState::kFree;
  bool dirty = false;              // kResident: the bytes are newer than what was written last.
                                   // Never together with latch.write_back(): a write takes it off
                                   // when it starts, and puts it back when it fails
  bool write_failed = false;       // dirty: the last attempt to write it failed, with `error`
  uint32_t attached = 0;           // accesses under way that count on finding their page here
  uint32_t writes_ended = 0;       // well or not; wraps
  PageLatch latch;                 // who holds the page, while `captured`; else its word tells
  AtomicPageWord* word = nullptr;  // of the page; null: no translation leads here
  bool captured = false;           // the word is guarded
  bool wanted = false;   // in the way of somebody who needs a frame: stays captured while held
  bool closing = false;  // its file is being closed: stays captured
  uint16_t captures = 0;
  absl::Status error;  // of the failed read, or of the last write if it failed

  // Neither evicted nor reused. Of a page that is not captured: as far as this tells.
  bool pinned() const { return attached > 0 || latch.held(); }
  bool in_flight() const {
    return state == FrameState::kLoading || state == FrameState::kLoadFailed || latch.write_back();
  }
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_FRAME_H_
