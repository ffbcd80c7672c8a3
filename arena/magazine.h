#ifndef FIXPOOL_ARENA_MAGAZINE_H_
#define FIXPOOL_ARENA_MAGAZINE_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/base/attributes.h"
#include "absl/base/optimization.h"
#include "fixpool/arena/free_page.h"
#include "fixpool/arena/page_store.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::arena {

// How many free runs of each order a magazine holds: up to 256 KiB of each, and at most 64 of
// one, so that a thread that goes to sleep keeps less than 2 MiB from the others' sight.
struct MagazineShape {
  static constexpr size_t kBytesPerOrder = size_t{256} << 10;
  static constexpr size_t kMostPerOrder = 64;
  static constexpr size_t kSlots = 128;

  explicit MagazineShape(size_t page_bytes) {
    for (int order = 0; order <= PageStore::kMaxOrder; ++order) {
      const size_t count = std::min(kBytesPerOrder / page_bytes >> order, kMostPerOrder);
      begin[order + 1] = static_cast<uint8_t>(begin[order] + count);
    }
  }
  size_t CapacityOf(int order) const { return begin[order + 1] - begin[order]; }

  std::array<uint8_t, PageStore::kMaxOrder + 2> begin{};  // of each order's slots
};

// A thread's own free pages: taken and given back without meeting another thread.
//
// Shape: for each order a stack of runs; none of the larger orders, see MagazineShape.
// Threads: Push and Pop belong to one thread, the magazine's owner. Any other may at any time
// take pages out (Steal), because no page may hide where only one thread finds it; so the owner
// takes a page out by an exchange, and what was stolen meanwhile it finds to be gone. Putting
// one in takes no atomic read-modify-write, since nobody else puts anything in.
// Source: J. Bonwick and J. Adams, Magazines and Vmem, USENIX 2001.
class alignas(ABSL_CACHELINE_SIZE) Magazine {
 public:
  // False: there is no room.
  bool Push(const MagazineShape& shape, int order, FreePage page) {
    uint8_t& count = counts_[order];
    const size_t place = size_t{shape.begin[order]} + count;
    if (ABSL_PREDICT_FALSE(place >= shape.begin[order + 1])) return false;
    slots_[place].store(page.Pack(), std::memory_order_release);
    ++count;
    // Not an addition that others must see as one step: nobody else writes it.
    pushes_.store(pushes_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    return true;
  }

  std::optional<FreePage> Pop(const MagazineShape& shape, int order) {
    uint8_t& count = counts_[order];
    while (count > 0) {
      --count;
      const uint64_t word =
          slots_[shape.begin[order] + count].exchange(0, std::memory_order_acquire);
      if (ABSL_PREDICT_TRUE(word != 0)) return FreePage::Unpack(word);
    }
    return std::nullopt;
  }

  // Takes out those runs that `wanted(page)` wants and calls `take(page, order)` for each. How
  // many. Other threads' pushes and pops go on meanwhile; two may not steal at once.
  template <typename Wanted, typename Take>
  size_t Steal(const MagazineShape& shape, Wanted wanted, Take take) {
    size_t stolen = 0;
    for (int order = 0; order <= PageStore::kMaxOrder; ++order) {
      for (size_t place = shape.begin[order]; place < shape.begin[order + 1]; ++place) {
        uint64_t word = slots_[place].load(std::memory_order_acquire);
        if (word == 0 || !wanted(FreePage::Unpack(word))) continue;
        if (!slots_[place].compare_exchange_strong(word, 0, std::memory_order_acq_rel)) continue;
        take(FreePage::Unpack(word), order);
        ++stolen;
      }
    }
    return stolen;
  }

  // How many pages (not runs) are in it. Exact while its owner does nothing.
  size_t CountPages(const MagazineShape& shape) const {
    size_t count = 0;
    for (int order = 0; order <= PageStore::kMaxOrder; ++order) {
      for (size_t place = shape.begin[order]; place < shape.begin[order + 1]; ++place) {
        if (slots_[place].load(std::memory_order_relaxed) != 0) count += size_t{1} << order;
      }
    }
    return count;
  }

  // How many runs were ever put in: if it is the same before and after a Steal of everything,
  // then there was a moment in which the magazine was empty.
  uint64_t pushes() const { return pushes_.load(std::memory_order_acquire); }

 private:
  std::array<uint8_t, PageStore::kMaxOrder + 1> counts_{};  // the owner's: places that were filled
  std::atomic<uint64_t> pushes_{0};
  std::array<std::atomic<uint64_t>, MagazineShape::kSlots> slots_{};  // 0: empty
};

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_MAGAZINE_H_
