#include "fixpool/arena/region_pages.h"

#include "absl/strings/str_cat.h"
#include "fixpool/io/check.h"
#include "fixpool/io/sanitizer.h"

namespace fixpool::arena {

RegionPages::RegionPages(const io::MemoryRegion& region, io::RegionId id, uint32_t page_bytes,
                         uint32_t first_generation)
    : base_(region.base()),
      id_(id),
      page_count_(static_cast<uint32_t>(region.size_bytes() / page_bytes)),
      page_shift_(std::countr_zero(page_bytes)),
      states_(new PageState[page_count_]),
      head_(0) {
  FIXPOOL_CHECK(std::has_single_bit(page_bytes) && page_count_ > 0 && page_count_ <= kMaxPages &&
                    region.size_bytes() % page_bytes == 0 && first_generation % 2 == 0,
                absl::StrCat(region.size_bytes(), " bytes in pages of ", page_bytes));
  for (uint32_t i = 0; i < page_count_; ++i) {
    states_[i].generation.store(first_generation, std::memory_order_relaxed);
    states_[i].next.store(i + 1 < page_count_ ? i + 1 : kNone, std::memory_order_relaxed);
  }
  io::sanitizer::Poison(base_, region.size_bytes());
}

std::optional<RegionPages::Taken> RegionPages::Take() {
  uint64_t head = head_.load(std::memory_order_acquire);
  uint32_t index;
  do {
    index = IndexOf(head);
    if (index == kNone) return std::nullopt;
    // If another thread takes the page first, `next` may be anything; then `head` has changed.
  } while (!head_.compare_exchange_weak(
      head, NextHead(head, states_[index].next.load(std::memory_order_relaxed)),
      std::memory_order_acq_rel, std::memory_order_acquire));
  PageState& state = states_[index];
  // Off the stack and not yet handed out: nobody else changes it.
  const uint32_t generation = state.generation.load(std::memory_order_relaxed) + 1;
  io::sanitizer::Unpoison(AddressOf(index), size_t{1} << page_shift_);
  state.generation.store(generation, std::memory_order_release);
  return Taken{.index = index, .generation = generation};
}

RegionPages::Given RegionPages::Give(uint32_t index, uint32_t generation) {
  PageState& state = states_[index];
  uint32_t expected = generation;
  if ((generation & 1) == 0 || !state.generation.compare_exchange_strong(
                                   expected, generation + 1, std::memory_order_acq_rel)) {
    return Given::kStale;
  }
  io::sanitizer::Poison(AddressOf(index), size_t{1} << page_shift_);
  if (generation + 1 == 0) return Given::kRetired;
  uint64_t head = head_.load(std::memory_order_relaxed);
  do {
    state.next.store(IndexOf(head), std::memory_order_relaxed);
    // Sequentially consistent: the giver looks at the arena's SlotSet next.
  } while (!head_.compare_exchange_weak(head, NextHead(head, index), std::memory_order_seq_cst,
                                        std::memory_order_relaxed));
  return Given::kFreed;
}

}  // namespace fixpool::arena
