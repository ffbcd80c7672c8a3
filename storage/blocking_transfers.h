#ifndef FIXPOOL_STORAGE_BLOCKING_TRANSFERS_H_
#define FIXPOOL_STORAGE_BLOCKING_TRANSFERS_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/io/sanitizer.h"
#include "fixpool/storage/page_id.h"

namespace fixpool::storage {

// Transfers whose threads wait for them, of no frame: see blocking_transfer.h. A fixed number, told
// apart by their index. Guarded by the cache's lock.
class BlockingTransfers {
 public:
  // What is booked when one ends, beside its status.
  enum class Booking : uint8_t {
    kNone,
    kSync,      // of the file itself
    kAreaSync,  // of its double-write area
  };
  struct Transfer {
    bool taken = false;
    bool ended = false;
    bool abandoned = false;  // its thread has gone; whoever has the completion returns it
    Booking booking = Booking::kNone;
    std::optional<FileId> file;    // open, and counts it as in flight; absent: not listed yet
    std::shared_ptr<void> memory;  // that the engine may still use
    absl::Status status;
    uint32_t transferred_bytes = 0;
  };
  // Each is of a thread that submits; others wait.
  static constexpr uint32_t kMost = 16;

  // Null: all are taken.
  Transfer* Take() {
    for (Transfer& transfer : transfers_) {
      if (transfer.taken) continue;
      transfer = Transfer();
      transfer.taken = true;
      return &transfer;
    }
    return nullptr;
  }
  void Return(Transfer& transfer) { transfer = Transfer(); }
  uint32_t IndexOf(const Transfer& transfer) const {
    return static_cast<uint32_t>(&transfer - transfers_.data());
  }
  // What the engine may still use is never freed, when this is about to be and transfers are in
  // flight.
  void LeakMemory() {
    for (Transfer& transfer : transfers_) {
      if (transfer.memory == nullptr) continue;
      io::sanitizer::LeakedOnPurpose(transfer.memory.get());
      io::sanitizer::LeakedOnPurpose(new std::shared_ptr<void>(std::move(transfer.memory)));
    }
  }
  Transfer& operator[](uint32_t index) { return transfers_[index]; }

 private:
  std::array<Transfer, kMost> transfers_;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_BLOCKING_TRANSFERS_H_
