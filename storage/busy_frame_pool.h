#ifndef FIXPOOL_STORAGE_BUSY_FRAME_POOL_H_
#define FIXPOOL_STORAGE_BUSY_FRAME_POOL_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/busy_frame.h"
#include "fixpool/storage/zeroed_memory.h"

namespace fixpool::storage {

// BusyFrames by number, as many as are needed at a time.
//
//   const uint32_t number = pool.Take();
//   pool[number].attached = 1;
//   pool.Put(number);
//
// Shape: numbers are 1 to capacity. Addresses are reserved for all of them; memory is taken as far
// as it was ever used, because the one that was put last is taken next: a cache line each, which
// then is in the processor's cache.
// Move-only. Guarded by the cache's lock. Nothing allocates but Create and MakeRoom.
class BusyFramePool {
 public:
  // ResourceExhausted: no address space for `most`, which MakeRoom can make of `capacity`, or no
  // memory for that; it is at least 1.
  static absl::StatusOr<BusyFramePool> Create(uint32_t capacity, uint32_t most);
  static absl::StatusOr<BusyFramePool> Create(uint32_t capacity) {
    return Create(capacity, capacity);
  }
  // ResourceExhausted: as ZeroedMemory; nothing has changed.
  absl::Status MakeRoom(uint32_t capacity);
  BusyFramePool(BusyFramePool&& other) noexcept;
  BusyFramePool& operator=(BusyFramePool&&) = delete;
  // Also those that were not put back.
  ~BusyFramePool();

  // A new one. That there is one is up to the caller, who has `capacity` frames (CHECKed).
  uint32_t Take() {
    ++in_use_;
    const uint32_t number = first_free_;
    if (number == 0) return MakeOne();
    first_free_ = slots()[number - 1].next_free;
    return number;
  }
  // Requires that it was taken.
  void Put(uint32_t number);

  BusyFrame& operator[](uint32_t number) { return slots()[number - 1].frame; }
  const BusyFrame& operator[](uint32_t number) const { return slots()[number - 1].frame; }

  uint32_t in_use() const { return in_use_; }
  // That were ever in use at a time.
  size_t touched_bytes() const { return size_t{made_} * sizeof(Slot); }

 private:
  struct alignas(64) Slot {
    BusyFrame frame;         // as if new while it is in the list
    uint32_t next_free = 0;  // in the list: the number of the next; 0: none
  };
  static_assert(sizeof(Slot) == 64);

  explicit BusyFramePool(ZeroedMemory memory);
  uint32_t MakeOne();
  Slot* slots() const { return reinterpret_cast<Slot*>(memory_.data()); }

  ZeroedMemory memory_;
  uint32_t capacity_ = 0;
  uint32_t made_ = 0;  // the first so many have been constructed
  uint32_t in_use_ = 0;
  uint32_t first_free_ = 0;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_BUSY_FRAME_POOL_H_
