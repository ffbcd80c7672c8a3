#ifndef FIXPOOL_STORAGE_READ_AHEAD_H_
#define FIXPOOL_STORAGE_READ_AHEAD_H_

#include <cstddef>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/page_id.h"
#include "fixpool/storage/scan_detector.h"

namespace fixpool::storage {

// What an access found out that should be read ahead of a scan. A value.
struct ReadAheadPlan {
  FileId file;
  size_t scan = ScanDetector::kNone;
  PageNumber first = 0;
  PageNumber end = 0;
  uint32_t step = 0;

  bool empty() const { return first == end; }
};

// Notes an access to a page of `file`. What comes of it goes to `plan`, for the caller to carry out
// once the lock is free. Costs a few ns where there is no scan. `count`: see
// ScanDetector::OnAccess.
void NoteAccess(CacheState& state, PageFile& file, PageNumber page, ScanDetector::Access access,
                ReadAheadPlan& plan, uint64_t count = 1) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex);

// Starts the reads of `plan`, as many as there are frames and room in the engine for, and leaves it
// empty. Does not wait but for the engine (see Submit), and has no errors: who asks for a page that
// could not be read ahead reads it himself, and is told.
void ReadAhead(CacheState& state, ReadAheadPlan& plan) ABSL_LOCKS_EXCLUDED(state.mutex);

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_READ_AHEAD_H_
