#ifndef FIXPOOL_ARENA_PAGE_STORE_H_
#define FIXPOOL_ARENA_PAGE_STORE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "fixpool/arena/bit_tree.h"
#include "fixpool/arena/buddy.h"
#include "fixpool/arena/free_page.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::arena {

// The free pages of all regions of an arena, but for those in the threads' magazines.
//
//   PageStore store(1024, 8);
//   store.Add(3, 262144);                        // the region in slot 3 has so many pages
//   FreePage pages[32];
//   size_t count = store.Take(0, absl::MakeSpan(pages));
//
// Shape: a Buddy for each region, and for each order the set of regions with a free run of it.
// A run comes from the best-fitting order that any region has, and there from the lowest region:
// low regions fill first, and high ones can be drained.
// A region can be suspended: nothing is taken from it, and what is given back to it stays.
// Threads: thread-compatible.
class PageStore {
 public:
  static constexpr int kMaxOrder = 8;

  // `max_order` <= kMaxOrder.
  PageStore(uint32_t slot_count, int max_order);

  void Add(uint16_t slot, uint32_t page_count);
  // Requires that it was added.
  void Remove(uint16_t slot);
  void Suspend(uint16_t slot);
  void Resume(uint16_t slot);

  // As many runs of that order as there are, and at most `out.size()`. How many.
  size_t Take(int order, absl::Span<FreePage> out);
  void Give(FreePage page, int order);

  // Of one region, suspended or not.
  uint32_t FreePagesOf(uint16_t slot) const { return regions_[slot]->buddy.free_pages(); }
  // Of all that are not suspended.
  size_t free_pages() const { return free_pages_; }
  // Whether a run of that order can be taken.
  bool Has(int order) const;
  // Of what it knows of pages.
  size_t size_bytes() const;

 private:
  struct Region {
    Buddy buddy;
    uint32_t listed_orders = 0;  // what has_free_ says of it
    bool suspended = false;
  };

  // Brings has_free_ in step with the region's Buddy.
  void List(uint16_t slot);

  const int max_order_;
  std::vector<std::unique_ptr<Region>> regions_;  // by slot
  std::vector<BitTree> has_free_;                 // by order: slots
  size_t free_pages_ = 0;
};

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_PAGE_STORE_H_
