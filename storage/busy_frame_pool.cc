#include "fixpool/storage/busy_frame_pool.h"

#include <new>
#include <utility>

#include "fixpool/io/check.h"

namespace fixpool::storage {

absl::StatusOr<BusyFramePool> BusyFramePool::Create(uint32_t capacity) {
  absl::StatusOr<ZeroedMemory> memory = ZeroedMemory::Reserve(size_t{capacity} * sizeof(Slot));
  if (!memory.ok()) return memory.status();
  return BusyFramePool(*std::move(memory), capacity);
}

BusyFramePool::BusyFramePool(ZeroedMemory memory, uint32_t capacity)
    : memory_(std::move(memory)), capacity_(capacity) {}

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
