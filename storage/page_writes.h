#ifndef FIXPOOL_STORAGE_PAGE_WRITES_H_
#define FIXPOOL_STORAGE_PAGE_WRITES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/frame_index.h"
#include "fixpool/storage/io_batch.h"
#include "fixpool/storage/joined_transfers.h"

namespace fixpool::storage {

// Whether the log is durable as far as the page in the frame needs. If not, it is wanted from now
// on (LogOrder::Want).
bool LogAllowsWrite(CacheState& state, FrameIndex index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex);

// The frame is dirty, its latch lets a write-back begin, the log allows it (LogAllowsWrite), and
// there is room (CanStart). It is clean and in write-back afterwards. An error is that of
// arena::PageArena::Check, and booked like that of a write that failed.
absl::Status StartWrite(CacheState& state, FrameIndex index, IoBatch& batch)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex);

// Starts writes of many pages, adjacent ones in one transfer.
//
//   RunWriter writer(state, {.reserve = 4});
//   for (FrameIndex frame : frames_in_the_order_of_their_pages) {
//     if (writer.Add(frame, batch) != RunWriter::Answer::kStarted) break;
//   }
//   writer.HandOver(batch);                     // before the lock is given back
//
// A page whose last write failed is written alone, so that it does not fail others with it.
// Used under one hold of the lock.
class RunWriter {
 public:
  struct Limits {
    uint32_t reserve = 0;  // transfers that are left to others
    uint32_t most = ~0u;   // transfers that it starts
  };
  enum class Answer : uint8_t {
    kStarted,
    kNoRoom,  // nothing was started
    kFailed,  // error(), as for StartWrite
  };
  // Pages of a transfer: enough for a device to be about as fast as it can be, few enough for
  // those who want to change one of them.
  static constexpr uint32_t kMostPages = 32;

  RunWriter(CacheState& state, Limits limits) : state_(state), limits_(limits) {}
  RunWriter(const RunWriter&) = delete;
  RunWriter& operator=(const RunWriter&) = delete;

  // Requires what StartWrite does, but for room.
  Answer Add(FrameIndex index, IoBatch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  void HandOver(IoBatch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);

  const absl::Status& error() const { return error_; }
  // Transfers that were started.
  uint32_t started() const { return started_; }
  // Tells clang that the caller's lock is the one that Add wants.
  void AssertLocked() const ABSL_ASSERT_EXCLUSIVE_LOCK(state_.mutex) {}

 private:
  bool Continues(FrameIndex index) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  bool Begin(FrameIndex index, const IoBatch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);

  CacheState& state_;
  const Limits limits_;
  JoinedTransfer* joined_ = nullptr;  // begun, and not handed over
  uint32_t started_ = 0;
  absl::Status error_;
};

// Books what became of a write, or of those of a joined one. `messages`: what the environment's
// sink should hear.
void EndWrite(CacheState& state, FrameIndex index, const absl::Status& status,
              std::vector<std::string>& messages) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex);
void EndJoinedWrite(CacheState& state, JoinedTransfer& joined, const absl::Status& status,
                    std::vector<std::string>& messages) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex);

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_PAGE_WRITES_H_
