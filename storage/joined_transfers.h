#ifndef FIXPOOL_STORAGE_JOINED_TRANSFERS_H_
#define FIXPOOL_STORAGE_JOINED_TRANSFERS_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/frame_index.h"
#include "fixpool/storage/page_id.h"

namespace fixpool::storage {

// One transfer of several pages: adjacent ones of one file, into or from frames that lie anywhere.
struct JoinedTransfer {
  FileId file;
  PageNumber first = 0;
  uint32_t count = 0;                              // of pages, and of what follows
  std::array<FrameIndex, io::kMaxPieces> frames;   // in the order of the pages
  std::array<io::IoPiece, io::kMaxPieces> pieces;  // for the engine, until it has accepted them
  absl::Span<const FrameIndex> pages() const { return {frames.data(), count}; }
};

// A fixed number of JoinedTransfers, told apart by their index, and which of them are free.
// Shape: some 7 KiB each, allocated by the constructor alone. A page larger than half of
// kLargestBytes is moved alone. Guarded by the cache's lock, but for those that are taken, which
// belong to their taker and then to whoever has the completion.
class JoinedTransfers {
 public:
  // Of one of them, if pages are smaller: as much as a device moves about as fast at a time as it
  // moves anything.
  static constexpr uint32_t kLargestBytes = 1u << 20;
  static constexpr uint32_t kMost = 32;

  JoinedTransfers(uint32_t engine_joined_depth, uint32_t page_bytes)
      : pages_each_(std::min<uint32_t>(io::kMaxPieces, kLargestBytes / page_bytes)),
        transfers_(pages_each_ < 2 ? 0 : std::min(kMost, engine_joined_depth)) {
    free_.reserve(transfers_.size());
    for (JoinedTransfer& transfer : transfers_) free_.push_back(&transfer);
  }

  // Null: all are taken.
  JoinedTransfer* Take() {
    if (free_.empty()) return nullptr;
    JoinedTransfer* const transfer = free_.back();
    free_.pop_back();
    transfer->count = 0;
    return transfer;
  }
  void Return(JoinedTransfer* transfer) { free_.push_back(transfer); }

  uint32_t IndexOf(const JoinedTransfer& transfer) const {
    return static_cast<uint32_t>(&transfer - transfers_.data());
  }
  JoinedTransfer& operator[](uint32_t index) { return transfers_[index]; }
  bool any_taken() const { return free_.size() < transfers_.size(); }
  // Whether there are any, taken or not.
  bool possible() const { return !transfers_.empty(); }
  // Pages of one of them at most.
  uint32_t pages_each() const { return pages_each_; }

 private:
  const uint32_t pages_each_;
  std::vector<JoinedTransfer> transfers_;
  std::vector<JoinedTransfer*> free_;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_JOINED_TRANSFERS_H_
