#ifndef FIXPOOL_STORAGE_FRAME_ARRAY_H_
#define FIXPOOL_STORAGE_FRAME_ARRAY_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "absl/status/statusor.h"
#include "fixpool/io/check.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/frame_index.h"
#include "fixpool/storage/zeroed_memory.h"

namespace fixpool::storage {

// A value for each frame that there can ever be, all bits zero at first, which must be a valid one.
//
//   FrameArray<uint8_t> heat(max_frames);
//   ++heat[frame];
//   heat.DiscardFrom(frame_count);            // those from there on are zero again
//
// Takes address space for all and memory for those that were written to, in pages of 4 KiB, so
// that a cache may grow without moving its tables, and without paying for them before.
// Move-only. Threads: as those of the values; DiscardFrom as ZeroedMemory::Discard.
template <typename T>
class FrameArray {
 public:
  static_assert(std::is_trivially_destructible_v<T>);

  // CHECKs that there is address space (PageCache::Create looks first).
  explicit FrameArray(uint32_t max_frames)
      : memory_(Reserve(max_frames)), values_(reinterpret_cast<T*>(memory_.data())) {}

  T& operator[](FrameIndex frame) { return values_[ToInt(frame)]; }
  const T& operator[](FrameIndex frame) const { return values_[ToInt(frame)]; }

  // Makes the values from `end` on zero, and gives the memory that was theirs alone back.
  void DiscardFrom(uint32_t end) {
    const size_t first_bytes = end * sizeof(T);
    const size_t whole_bytes =
        std::min((first_bytes + kUnitBytes - 1) / kUnitBytes * kUnitBytes, memory_.size_bytes());
    for (size_t at = first_bytes; at < whole_bytes; at += sizeof(T)) Clear(values_[at / sizeof(T)]);
    if (whole_bytes < memory_.size_bytes()) {
      memory_.Discard(whole_bytes, memory_.size_bytes() - whole_bytes);
    }
  }

 private:
  static constexpr size_t kUnitBytes = 4096;  // of what the kernel gives and takes
  static_assert(kUnitBytes % sizeof(T) == 0);

  static ZeroedMemory Reserve(uint32_t max_frames) {
    const size_t units = (max_frames * sizeof(T) + kUnitBytes - 1) / kUnitBytes;
    absl::StatusOr<ZeroedMemory> memory =
        ZeroedMemory::Reserve((units > 0 ? units : 1) * kUnitBytes);
    FIXPOOL_CHECK(memory.ok(), memory.status().message());
    return *std::move(memory);
  }
  static void Clear(T& value) {
    if constexpr (requires { value.store(0); }) {
      value.store(0, std::memory_order_relaxed);
    } else {
      value = T();
    }
  }

  ZeroedMemory memory_;
  T* values_;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_FRAME_ARRAY_H_
