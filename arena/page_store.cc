#include "fixpool/arena/page_store.h"

#include <bit>

#include "fixpool/io/check.h"

namespace fixpool::arena {

PageStore::PageStore(uint32_t slot_count, int max_order)
    : max_order_(max_order), regions_(slot_count) {
  for (int order = 0; order <= max_order; ++order) has_free_.emplace_back(slot_count);
}

void PageStore::Add(uint16_t slot, uint32_t page_count) {
  FIXPOOL_CHECK(regions_[slot] == nullptr, "two regions in one slot of a page store");
  regions_[slot] = std::make_unique<Region>(Region{.buddy = Buddy(page_count, max_order_)});
  free_pages_ += page_count;
  List(slot);
}

void PageStore::Remove(uint16_t slot) {
  if (!regions_[slot]->suspended) Suspend(slot);
  regions_[slot] = nullptr;
}

void PageStore::Suspend(uint16_t slot) {
  regions_[slot]->suspended = true;
  free_pages_ -= regions_[slot]->buddy.free_pages();
  List(slot);
}

void PageStore::Resume(uint16_t slot) {
  regions_[slot]->suspended = false;
  free_pages_ += regions_[slot]->buddy.free_pages();
  List(slot);
}

size_t PageStore::size_bytes() const {
  size_t sum_bytes = 0;
  for (const std::unique_ptr<Region>& region : regions_) {
    if (region != nullptr) sum_bytes += region->buddy.size_bytes();
  }
  return sum_bytes;
}

void PageStore::List(uint16_t slot) {
  Region& region = *regions_[slot];
  const uint32_t orders = region.suspended ? 0 : region.buddy.free_orders();
  uint32_t changed = orders ^ region.listed_orders;
  region.listed_orders = orders;
  for (; changed != 0; changed &= changed - 1) {
    const int order = std::countr_zero(changed);
    if ((orders >> order & 1) != 0) {
      has_free_[order].Insert(slot);
    } else {
      has_free_[order].Remove(slot);
    }
  }
}

bool PageStore::Has(int order) const {
  for (int have = order; have <= max_order_; ++have) {
    if (!has_free_[have].empty()) return true;
  }
  return false;
}

size_t PageStore::Take(int order, absl::Span<FreePage> out) {
  size_t count = 0;
  int have = order;
  while (count < out.size()) {
    while (have <= max_order_ && has_free_[have].empty()) ++have;
    if (have > max_order_) break;
    const auto slot = static_cast<uint16_t>(*has_free_[have].First());
    out[count++] = {.slot = slot, .page_index = *regions_[slot]->buddy.Take(order)};
    free_pages_ -= size_t{1} << order;
    List(slot);
    // What was split left runs of lower orders.
    have = order;
  }
  return count;
}

void PageStore::Give(FreePage page, int order) {
  Region& region = *regions_[page.slot];
  region.buddy.Give(page.page_index, order);
  if (region.suspended) return;
  free_pages_ += size_t{1} << order;
  List(page.slot);
}

}  // namespace fixpool::arena
