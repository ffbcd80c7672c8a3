#ifndef FIXPOOL_STORAGE_TRANSFER_H_
#define FIXPOOL_STORAGE_TRANSFER_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "fixpool/arena/page_handle.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/frame_index.h"
#include "fixpool/storage/io_batch.h"

namespace fixpool::storage {

// What the ways to start transfers (page_transfers.h, page_writes.h) have in common.

// What a completion is about, in IoRequest::user_data: the kind above the index of a frame or, of a
// sync, the slot of a file, or, of a joined transfer, its place among these; above both, what
// write_protection.h says. Of one that a thread waits for, its place among BlockingTransfers.
enum class TransferKind : uint8_t { kRead, kWrite, kSync, kJoinedRead, kJoinedWrite, kBlocking };

inline uint64_t UserData(TransferKind kind, uint32_t index) {
  return uint64_t{static_cast<uint8_t>(kind)} << 32 | index;
}
inline TransferKind KindOf(uint64_t user_data) {
  return static_cast<TransferKind>(user_data >> 32 & 0xff);
}
inline uint32_t IndexOf(uint64_t user_data) { return static_cast<uint32_t>(user_data); }

// Whether one more transfer can be started, with `reserve` left over for others.
inline bool CanStart(const CacheState& state, const IoBatch& batch, uint32_t reserve = 0)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  return state.transfers + reserve < state.engine->depth() && batch.room() > 0;
}

// As arena::PageArena::Check, in words about the page that the frame is to be read into or written
// from.
absl::Status CheckHandle(const CacheState& state, FrameIndex index, const arena::PageHandle& handle,
                         absl::string_view operation) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex);

// Of the frame's page alone, kRead or kWrite. It is in flight from now on.
void AddTransfer(CacheState& state, TransferKind kind, FrameIndex index,
                 const arena::PageHandle& handle, IoBatch& batch)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex);

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_TRANSFER_H_
