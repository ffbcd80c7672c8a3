#include "fixpool/storage/busy_frame_pool.h"

#include <new>
#include <utility>

#include "fixpool/io/check.h"

namespace fixpool::storage {

absl::StatusOr<BusyFramePool> BusyFramePool::Create(uint32_t capacity, uint32_t most) {
  absl::StatusOr<ZeroedMemory> memory = ZeroedMemory::ReserveAddresses(size_t{most} * sizeof(Slot));
  if (!memory.ok()) return memory.status();
  BusyFramePool pool(*std::move(memory));
  if (absl::Status status = pool.MakeRoom(capacity); !status.ok()) return status;
  return pool;
}

BusyFramePool::BusyFramePool(ZeroedMemory memory) : memory_(std::move(memory)) {}

absl::Status BusyFramePool::MakeRoom(uint32_t capacity) {
  absl::Status status = memory_.MakeAccessible(size_t{capacity} * sizeof(Slot));
  if (status.ok()) capacity_ = capacity;
  return status;
}

BusyFramePool::BusyFramePool(BusyFramePool&& other) noexcept
    : memory_(std::move(other.memory_)),
      capacity_(other.capacity_),
      made_(std::exchange(other.made_, 0)),
      in_use_(other.in_use_),
      first_free_(other.first_free_) {}

BusyFramePool::~BusyFramePool() {
  for (uint32_t i = 0; i < made_; ++i) slots()[i].~Slot();
}

uint32_t BusyFramePool::MakeOne() {
  FIXPOOL_CHECK(made_ < capacity_, "more busy frames than frames");
  new (&slots()[made_]) Slot();
  return ++made_;
}

void BusyFramePool::Put(uint32_t number) {
  Slot& slot = slots()[number - 1];
  slot.frame = BusyFrame();
  slot.next_free = first_free_;
  first_free_ = number;
  --in_use_;
}

}  // namespace fixpool::storage
