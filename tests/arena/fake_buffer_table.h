#ifndef FIXPOOL_TESTS_ARENA_FAKE_BUFFER_TABLE_H_
#define FIXPOOL_TESTS_ARENA_FAKE_BUFFER_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <set>

#include "absl/status/status.h"
#include "fixpool/io/buffer_table.h"
#include "fixpool/io/error.h"

namespace fixpool::arena {

// A ring's table of buffers without the ring, which refuses what a test wants it to refuse.
class FakeBufferTable final : public io::BufferTable {
 public:
  // From the `after`th Set on (counted from 0), the answer is `error_number`.
  void Refuse(int error_number, size_t after = 0) {
    error_number_ = error_number;
    first_refused_ = set_calls_ + after;
  }

  absl::Status Set(uint16_t slot, const io::MemoryRegion&) override {
    const bool refused = error_number_ != 0 && set_calls_ >= first_refused_;
    ++set_calls_;
    if (refused) return io::ErrnoStatus(error_number_, "registering a buffer in a fake table");
    slots_.insert(slot);
    return absl::OkStatus();
  }
  absl::Status Clear(uint16_t slot) override {
    slots_.erase(slot);
    return absl::OkStatus();
  }
  void MakeProgress(io::Deadline) override {}

  // The slots that hold a buffer.
  const std::set<uint16_t>& slots() const { return slots_; }

 private:
  int error_number_ = 0;
  size_t first_refused_ = 0;
  size_t set_calls_ = 0;
  std::set<uint16_t> slots_;
};

}  // namespace fixpool::arena

#endif  // FIXPOOL_TESTS_ARENA_FAKE_BUFFER_TABLE_H_
