#ifndef FIXPOOL_STORAGE_FRAME_SUPPLY_H_
#define FIXPOOL_STORAGE_FRAME_SUPPLY_H_

#include <cstddef>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/page_transfers.h"

namespace fixpool::storage {

// Where frames for new pages come from: those that are free, then that of the page which the
// replacement policy values least among the clean ones that nobody holds.
//
// Dirty pages met on the way are put in `batch` to be written, a few at a time, and serve a
// later call: nobody waits for a write while there is a clean page. Those whose last write
// failed are left alone, unless there is nothing else, and then not more often than the
// pause in CacheState allows.
//
// Frames that are leaving (FrameTable::Leave) are given to nobody: a page in one that the policy
// lets go of has gone, and the search goes on, for some steps.
//
// The frame is in no list and no table, with state kFree; the caller fills it or puts it
// back. kNoFrame: there is none at the moment. `reserve`: transfers that the caller is going
// to start itself, in the same batch.
FrameIndex TakeFrame(CacheState& state, uint32_t reserve, IoBatch& batch)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex);

// As many frames as are to be had, up to out.size(), for pages that nobody waits for: the first of
// `out`, as many as it returns. Those that a FrameKeeper keeps free come last. `reserve`: transfers
// that the caller is going to start for all of them.
size_t TakeFrames(CacheState& state, absl::Span<FrameIndex> out, uint32_t reserve, IoBatch& batch)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex);

// Takes frames as TakeFrame would, up to `count` and up to 16 of them, and puts them on the list of
// free ones, for later calls of TakeFrame. Returns how many, those that are leaving included.
// Writes of dirty pages that it puts in `batch` leave half of what the engine takes to others.
size_t FreeFrames(CacheState& state, size_t count, IoBatch& batch)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex);

// If no frame can become available before pages that cannot be written, or the log that they wait
// for, are tried again: the time of that. Else infinite.
io::Deadline NextFrameRetry(const CacheState& state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex);

// ResourceExhausted: what the frames are busy with, and what can be done about it.
absl::Status NoFrameStatus(const CacheState& state, const PageId& page)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex);

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_FRAME_SUPPLY_H_
