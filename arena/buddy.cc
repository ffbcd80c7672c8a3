#include "fixpool/arena/buddy.h"

#include <bit>

#include "fixpool/io/check.h"

namespace fixpool::arena {

Buddy::Buddy(uint32_t page_count, int max_order) : max_order_(max_order) {
  for (int order = 0; order <= max_order; ++order) free_runs_.emplace_back(page_count >> order);
  uint32_t page = 0;
  for (int order = max_order; order >= 0; --order) {
    for (; page_count - page >= uint32_t{1} << order; page += uint32_t{1} << order) {
      Insert(page >> order, order);
    }
  }
  free_pages_ = page_count;
}

void Buddy::Insert(uint32_t run, int order) {
  free_runs_[order].Insert(run);
  free_orders_ |= 1u << order;
}

void Buddy::Remove(uint32_t run, int order) {
  free_runs_[order].Remove(run);
  if (free_runs_[order].empty()) free_orders_ &= ~(1u << order);
}

std::optional<uint32_t> Buddy::Take(int order) {
  const uint32_t fitting = free_orders_ >> order << order;
  if (fitting == 0) return std::nullopt;
  int have = std::countr_zero(fitting);
  uint32_t run = *free_runs_[have].First();
  Remove(run, have);
  // Keep the lower half, give the upper one back, until it fits.
  while (have > order) {
    --have;
    run *= 2;
    Insert(run + 1, have);
  }
  free_pages_ -= uint32_t{1} << order;
  return run << order;
}

void Buddy::Give(uint32_t first_page, int order) {
  uint32_t run = first_page >> order;
  FIXPOOL_CHECK(!free_runs_[order].Contains(run), "a free run of pages was given back");
  free_pages_ += uint32_t{1} << order;
  while (order < max_order_ && free_runs_[order].Contains(run ^ 1)) {
    Remove(run ^ 1, order);
    run /= 2;
    ++order;
  }
  Insert(run, order);
}

}  // namespace fixpool::arena
