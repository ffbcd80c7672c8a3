#ifndef FIXPOOL_STORAGE_FRAME_ARRAY_H_
#define FIXPOOL_STORAGE_FRAME_ARRAY_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/io/check.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/frame_index.h"
#include "fixpool/storage/zeroed_memory.h"

namespace fixpool::storage {

// A value for each frame that there is or may be, all bits zero at first, which must be a valid
// one.
//
//   FrameArray<uint8_t> heat(frames, most_frames);
//   ++heat[frame];
//   if (absl::Status status = heat.MakeRoom(more_frames); !status.ok()) ...
//   heat.DiscardFrom(frames);                     // those from there on are zero again
//
// Takes address space for the most frames that there can be, and memory for those that were written
// to, in pages of 4 KiB, so that a cache may grow without moving its tables, and without paying for
// them before. Only where MakeRoom was can be used: a process that locks its memory is given all
// of that.
// Move-only. Threads: as those of the values; MakeRoom and DiscardFrom one at a time, beside others
// who use values that stay.
template <typename T>
class FrameArray {
 public:
  static_assert(std::is_trivially_destructible_v<T>);

  // Frames below `frames` can be used at once. CHECKs that there is address space, and memory for
  // these (PageCache::Create looks first).
  FrameArray(uint32_t frames, uint32_t most_frames)
      : memory_(Reserve(most_frames)), values_(reinterpret_cast<T*>(memory_.data())) {
    const absl::Status status = MakeRoom(frames);
    FIXPOOL_CHECK(status.ok(), status.message());
  }
  explicit FrameArray(uint32_t frames) : FrameArray(frames, frames) {}

  T& operator[](FrameIndex frame) { return values_[ToInt(frame)]; }
  const T& operator[](FrameIndex frame) const { return values_[ToInt(frame)]; }

  // Frames below `frames` can be used from now on. ResourceExhausted: as ZeroedMemory.
  absl::Status MakeRoom(uint32_t frames) { return memory_.MakeAccessible(frames * sizeof(T)); }

  // Makes the values from `end` on zero, and gives the memory that was theirs alone back.
  void DiscardFrom(uint32_t end) {
    const size_t size_bytes = memory_.accessible_bytes();
    const size_t first_bytes = std::min(end * sizeof(T), size_bytes);
    const size_t whole_bytes = (first_bytes + kUnitBytes - 1) / kUnitBytes * kUnitBytes;
    for (size_t at = first_bytes; at < whole_bytes; at += sizeof(T)) Clear(values_[at / sizeof(T)]);
    if (whole_bytes < size_bytes) memory_.Discard(whole_bytes, size_bytes - whole_bytes);
  }

 private:
  static constexpr size_t kUnitBytes = 4096;  // of what the kernel gives and takes
  static_assert(kUnitBytes % sizeof(T) == 0);

  static ZeroedMemory Reserve(uint32_t max_frames) {
    const size_t units = (max_frames * sizeof(T) + kUnitBytes - 1) / kUnitBytes;
    absl::StatusOr<ZeroedMemory> memory =
        ZeroedMemory::ReserveAddresses((units > 0 ? units : 1) * kUnitBytes);
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
