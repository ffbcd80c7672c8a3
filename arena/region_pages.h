#ifndef FIXPOOL_ARENA_REGION_PAGES_H_
#define FIXPOOL_ARENA_REGION_PAGES_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/base/optimization.h"
#include "fixpool/io/memory_region.h"
#include "fixpool/io/region_id.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/io/sanitizer.h"

namespace fixpool::arena {

// The pages of the region in one slot: which are allocated, how large, and in which generation.
//
//   RegionPages pages(4096, 262144);
//   pages.Open(region, id);
//   uint32_t generation = pages.Claim(17, 4);       // 64 KiB from page 17 on
//   pages.Release(17, generation);                  // Released::kFreed
//   pages.Close();
//
// Shape: up to kMaxPages pages (1 GiB of 4 KiB), of a power of two of bytes, which divides the
// region. 8 bytes for each, beside the pages and not in them: the kernel may write to a page,
// a sanitizer may forbid it, and neither must hurt the bookkeeping. A run of 2^order pages is
// known by its first page; the others' entries do not say anything.
//
// Generations: 0 at first; odd while the page is allocated, even while it is free. Claim and
// Release add one. A page that has used up its 2^31 lives is retired: it is never to be claimed
// again, so no handle ever becomes valid a second time.
//
// Lives: Open gives the table a region, Close takes it away; the next region in that slot, with
// another id, goes on in the generations of the last, so that whoever was looking at a page of
// the old one when it went does not take a page of the new one for it.
//
// Ownership: of the bookkeeping alone. It does not look at the region's memory; it only marks it
// for AddressSanitizer.
// Threads: thread-safe, and all but Open and Close wait-free; those are one thread's at a time.
class alignas(ABSL_CACHELINE_SIZE) RegionPages {
 public:
  static constexpr uint32_t kMaxPages = 1u << 18;
  static constexpr size_t kBytesBesideAPage = 8;

  enum class Released {
    kFreed,    // it can be claimed again
    kRetired,  // it was freed for the last time
    kStale,    // nothing is allocated there under that generation; nothing was changed
  };

  // Of no pages: no region can be opened, and nothing is live.
  RegionPages() = default;
  // For regions of up to `most_pages`. All pages begin their lives at `first_generation`, which
  // is even and which tests alone set.
  RegionPages(uint32_t page_bytes, uint32_t most_pages, uint32_t first_generation = 0);
  // Makes a table of no pages one for regions of up to `most_pages`. Once, before the first Open.
  void Prepare(uint32_t page_bytes, uint32_t most_pages);
  bool prepared() const { return most_pages_ != 0; }
  RegionPages(const RegionPages&) = delete;
  RegionPages& operator=(const RegionPages&) = delete;

  // Requires that it is closed and no page is allocated.
  void Open(const io::MemoryRegion& region, io::RegionId id);
  // Requires that no page is allocated. From now on no id is this one's.
  void Close();
  // Takes a Close back: the same region under the same id.
  void Reopen(io::RegionId id) { id_.store(id.bits(), std::memory_order_release); }

  // Of the region that is open, else kUnregistered, which no handle finds a table by.
  io::RegionId id() const { return io::RegionId::FromBits(id_.load(std::memory_order_acquire)); }
  uint32_t page_count() const { return page_count_.load(std::memory_order_relaxed); }

  // Makes 2^order pages from `index` on an allocated run, and returns its generation. Requires
  // that they are free and nobody else's to claim.
  uint32_t Claim(uint32_t index, int order) { return Claim(index, order, GenerationOf(index)); }
  // The same for who knows the generation that the free run is in.
  uint32_t Claim(uint32_t index, int order, uint32_t free_generation);

  // The same, backwards. Requires index < page_count(). Of several threads that release the
  // same run, one gets kFreed (or kRetired), and `order`.
  Released Release(uint32_t index, uint32_t generation, int& order);

  // For any two numbers.
  bool IsLive(uint32_t index, uint32_t generation) const {
    return index < page_count() && (generation & 1) != 0 &&
           states_[index].generation.load(std::memory_order_acquire) == generation;
  }

  // Require index < page_count().
  std::byte* AddressOf(uint32_t index) const {
    return reinterpret_cast<std::byte*>(base_.load(std::memory_order_relaxed) +
                                        (size_t{index} << page_shift_));
  }
  uint32_t GenerationOf(uint32_t index) const {
    return states_[index].generation.load(std::memory_order_acquire);
  }
  // Of an allocated run.
  int OrderOf(uint32_t index) const { return states_[index].order.load(std::memory_order_relaxed); }

  // Pages that will never be free again in this region's life.
  uint32_t retired_pages() const { return retired_pages_.load(std::memory_order_relaxed); }

  // Whether pages that are freed are wanted back at once, see PageArena::Shrink.
  bool draining() const { return draining_.load(std::memory_order_relaxed); }
  void set_draining(bool draining) { draining_.store(draining, std::memory_order_relaxed); }

 private:
  struct State {
    std::atomic<uint32_t> generation;
    std::atomic<uint8_t> order;
  };
  static_assert(sizeof(State) == kBytesBesideAPage);
  struct FreeStates {
    void operator()(State* states) const;
  };

  // Written by Prepare, Open and Close alone. Whoever finds its id here sees the rest.
  std::atomic<uint64_t> id_{io::RegionId::kUnregistered.bits()};
  std::atomic<uintptr_t> base_{0};
  std::atomic<uint32_t> page_count_{0};
  std::atomic<bool> draining_{false};
  std::atomic<uint32_t> retired_pages_{0};
  int page_shift_ = 0;
  uint32_t most_pages_ = 0;
  std::unique_ptr<State[], FreeStates> states_;
};

inline uint32_t RegionPages::Claim(uint32_t index, int order, uint32_t free_generation) {
  State& state = states_[index];
  const uint32_t generation = free_generation + 1;
  io::sanitizer::Unpoison(AddressOf(index), size_t{1} << (page_shift_ + order));
  state.order.store(static_cast<uint8_t>(order), std::memory_order_relaxed);
  state.generation.store(generation, std::memory_order_release);
  return generation;
}

inline RegionPages::Released RegionPages::Release(uint32_t index, uint32_t generation, int& order) {
  State& state = states_[index];
  uint32_t expected = generation;
  // That of this life if the exchange succeeds.
  const int its_order = state.order.load(std::memory_order_relaxed);
  if (ABSL_PREDICT_FALSE((generation & 1) == 0 ||
                         !state.generation.compare_exchange_strong(expected, generation + 1,
                                                                   std::memory_order_acq_rel))) {
    return Released::kStale;
  }
  order = its_order;
  io::sanitizer::Poison(AddressOf(index), size_t{1} << (page_shift_ + order));
  if (ABSL_PREDICT_TRUE(generation + 1 != 0)) return Released::kFreed;
  retired_pages_.fetch_add(1u << order, std::memory_order_relaxed);
  return Released::kRetired;
}

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_REGION_PAGES_H_
