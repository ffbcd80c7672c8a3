#ifndef FIXPOOL_ARENA_REGION_PAGES_H_
#define FIXPOOL_ARENA_REGION_PAGES_H_

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/base/optimization.h"
#include "fixpool/io/memory_region.h"
#include "fixpool/io/region_id.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::arena {

// The pages of one region: which are free, and which generation each is in.
//
//   RegionPages pages(region, id, 4096);
//   std::optional<RegionPages::Taken> page = pages.Take();
//   pages.AddressOf(page->index);
//   pages.Give(page->index, page->generation);       // Given::kFreed
//
// Shape: up to 2^18 pages (1 GiB of 4 KiB), of a power of two of bytes, which divides the
// region. 8 bytes for each, beside the pages and not in them: the kernel may write to a page,
// a sanitizer may forbid it, and neither must hurt the free list.
//
// Generations: 0 at first; odd while the page is allocated, even while it is free. Take and
// Give add one. A page that has used up its 2^31 lives is retired: it stays even for ever and
// is never handed out again, so no handle ever becomes valid a second time.
//
// The free pages are a stack (Treiber's): the page freed last is still in the CPU's caches. The
// head carries a count of changes in 44 bits, so that a thread that slept between reading and
// writing it cannot take it for unchanged (ABA) unless exactly 2^44 changes were missed.
//
// Ownership: of the bookkeeping alone. It is never in the region's memory and does not look at
// it; Take, Give and the constructor only mark it for AddressSanitizer.
// Threads: thread-safe and lock-free; IsLive and AddressOf are wait-free.
class RegionPages {
 public:
  static constexpr uint32_t kMaxPages = 1u << 18;

  struct Taken {
    uint32_t index;
    uint32_t generation;
  };
  enum class Given {
    kFreed,    // it can be taken again
    kRetired,  // it was freed for the last time
    kStale,    // no page is allocated under that generation; nothing was changed
  };

  // All pages are free, lowest first, and begin their lives at `first_generation`, which is
  // even and which tests alone set.
  RegionPages(const io::MemoryRegion& region, io::RegionId id, uint32_t page_bytes,
              uint32_t first_generation = 0);
  RegionPages(const RegionPages&) = delete;
  RegionPages& operator=(const RegionPages&) = delete;

  io::RegionId id() const { return id_; }
  uint32_t page_count() const { return page_count_; }

  // nullopt: no page is free. The page's bytes are what they were when it was freed, or zero.
  std::optional<Taken> Take();

  // Requires index < page_count(). Of several threads that give the same page, one gets kFreed.
  Given Give(uint32_t index, uint32_t generation);

  // Whether a page is free. Sequentially consistent with Give.
  bool MayTake() const { return IndexOf(head_.load()) != kNone; }

  // For any two numbers.
  bool IsLive(uint32_t index, uint32_t generation) const {
    return index < page_count_ && (generation & 1) != 0 &&
           states_[index].generation.load(std::memory_order_acquire) == generation;
  }

  // Requires index < page_count().
  std::byte* AddressOf(uint32_t index) const { return base_ + (size_t{index} << page_shift_); }
  uint32_t GenerationOf(uint32_t index) const {
    return states_[index].generation.load(std::memory_order_acquire);
  }

 private:
  struct PageState {
    std::atomic<uint32_t> generation;
    std::atomic<uint32_t> next;  // on the stack: the page below, or kNone
  };
  static_assert(sizeof(PageState) == 8);

  // Head of the stack: changes in the high 44 bits, the topmost page in the low 20.
  static constexpr int kIndexBits = 20;
  static constexpr uint32_t kNone = (1u << kIndexBits) - 1;
  static_assert(kMaxPages < kNone);
  static constexpr uint32_t IndexOf(uint64_t head) { return static_cast<uint32_t>(head) & kNone; }
  static constexpr uint64_t NextHead(uint64_t head, uint32_t index) {
    return (((head >> kIndexBits) + 1) << kIndexBits) | index;
  }

  // Read by everybody, written by nobody.
  std::byte* const base_;
  const io::RegionId id_;
  const uint32_t page_count_;
  const int page_shift_;
  const std::unique_ptr<PageState[]> states_;

  // Written on every Take and Give: on a line of its own.
  alignas(ABSL_CACHELINE_SIZE) std::atomic<uint64_t> head_;
};

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_REGION_PAGES_H_
