#ifndef FIXPOOL_ARENA_BUDDY_H_
#define FIXPOOL_ARENA_BUDDY_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "fixpool/arena/bit_tree.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::arena {

// Which runs of a region's pages are free: a binary buddy system.
//
//   Buddy buddy(262144, 8);              // 1 GiB in pages of 4 KiB, runs of up to 1 MiB
//   std::optional<uint32_t> run = buddy.Take(4);       // 16 pages, from a multiple of 16 on
//   buddy.Give(*run, 4);
//
// Shape: pages [0, page_count). A run of order k is 2^k pages and begins at a multiple of 2^k;
// two free runs that make one of the next order do so at once, up to max_order. So what is free
// is always in the largest runs that it can be in, whatever the history.
// Take and Give are O(max_order). Take hands out the lowest run of the best-fitting order.
// Memory: 2 bits for each page. Nothing is allocated after construction.
// Threads: thread-compatible.
// Source: K. C. Knowlton, A fast storage allocator, CACM 8 (1965).
class Buddy {
 public:
  Buddy(uint32_t page_count, int max_order);

  // nullopt: no run of that order, nor of a higher one, is free.
  std::optional<uint32_t> Take(int order);
  // The run was taken with that order.
  void Give(uint32_t first_page, int order);

  uint32_t free_pages() const { return free_pages_; }
  // Bit k: there is a free run of exactly order k.
  uint32_t free_orders() const { return free_orders_; }
  size_t size_bytes() const {
    size_t sum_bytes = 0;
    for (const BitTree& runs : free_runs_) sum_bytes += runs.size_bytes();
    return sum_bytes;
  }

 private:
  void Insert(uint32_t run, int order);
  void Remove(uint32_t run, int order);

  const int max_order_;
  uint32_t free_pages_ = 0;
  uint32_t free_orders_ = 0;
  std::vector<BitTree> free_runs_;  // by order; run n begins at page n << order
};

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_BUDDY_H_
