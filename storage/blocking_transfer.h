#ifndef FIXPOOL_STORAGE_BLOCKING_TRANSFER_H_
#define FIXPOOL_STORAGE_BLOCKING_TRANSFER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/blocking_transfers.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/page_id.h"

namespace fixpool::storage {

// A transfer that its thread waits for, through the cache's engine as all others are, taking in
// completions of others meanwhile.
struct BlockingRequest {
  io::IoRequest request;  // whose user_data is not used
  // That the request is about. Kept until the engine is done with it, also if that is after the
  // deadline.
  std::shared_ptr<void> memory;
  io::Deadline deadline;
  // An open file that must not be closed meanwhile, which counts it as in flight, and what is
  // booked there.
  std::optional<FileId> file = std::nullopt;
  BlockingTransfers::Booking booking = BlockingTransfers::Booking::kNone;
};

// Bytes transferred. Aborted: Booking::kSync, and a sync of the file is in flight.
// DeadlineExceeded: it is still in flight, and is booked when it ends. Any other: as of IoEngine.
absl::StatusOr<uint32_t> TransferNow(CacheState& state, const BlockingRequest& request)
    ABSL_LOCKS_EXCLUDED(state.mutex);

// For who has the completion of the transfer at `index`.
void EndBlockingTransfer(CacheState& state, uint32_t index, const absl::Status& status,
                         uint32_t transferred_bytes, std::vector<std::string>& messages)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex);

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_BLOCKING_TRANSFER_H_
