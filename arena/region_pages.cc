#include "fixpool/arena/region_pages.h"

#include <bit>
#include <cstdlib>
#include <new>

#include "absl/strings/str_cat.h"
#include "fixpool/io/check.h"
#include "fixpool/io/sanitizer.h"

namespace fixpool::arena {

void RegionPages::FreeStates::operator()(State* states) const { std::free(states); }

RegionPages::RegionPages(uint32_t page_bytes, uint32_t most_pages, uint32_t first_generation) {
  Prepare(page_bytes, most_pages);
  FIXPOOL_CHECK(first_generation % 2 == 0, absl::StrCat("generation ", first_generation));
  for (uint32_t i = 0; first_generation != 0 && i < most_pages; ++i) {
    states_[i].generation.store(first_generation, std::memory_order_relaxed);
  }
}

// calloc: of a table for more pages than its first region has, the rest costs no memory.
void RegionPages::Prepare(uint32_t page_bytes, uint32_t most_pages) {
  FIXPOOL_CHECK(
      !prepared() && std::has_single_bit(page_bytes) && most_pages > 0 && most_pages <= kMaxPages,
      absl::StrCat(most_pages, " pages of ", page_bytes, " bytes"));
  page_shift_ = std::countr_zero(page_bytes);
  most_pages_ = most_pages;
  states_.reset(static_cast<State*>(std::calloc(most_pages, sizeof(State))));
  if (states_ == nullptr) throw std::bad_alloc();
}

void RegionPages::Open(const io::MemoryRegion& region, io::RegionId id) {
  const size_t page_count = region.size_bytes() >> page_shift_;
  FIXPOOL_CHECK(page_count > 0 && page_count <= most_pages_ &&
                    page_count << page_shift_ == region.size_bytes(),
                absl::StrCat(region.size_bytes(), " bytes in a table of ", most_pages_, " pages"));
  io::sanitizer::Poison(region.base(), region.size_bytes());
  base_.store(reinterpret_cast<uintptr_t>(region.base()), std::memory_order_relaxed);
  page_count_.store(static_cast<uint32_t>(page_count), std::memory_order_relaxed);
  retired_pages_.store(0, std::memory_order_relaxed);
  draining_.store(false, std::memory_order_relaxed);
  id_.store(id.bits(), std::memory_order_release);
}

void RegionPages::Close() {
  id_.store(io::RegionId::kUnregistered.bits(), std::memory_order_release);
}

}  // namespace fixpool::arena
