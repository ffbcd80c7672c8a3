#ifndef FIXPOOL_ARENA_PAGE_ARENA_H_
#define FIXPOOL_ARENA_PAGE_ARENA_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/base/optimization.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/arena/arena_report.h"
#include "fixpool/arena/ladder.h"
#include "fixpool/arena/mapping.h"
#include "fixpool/arena/page_handle.h"
#include "fixpool/arena/region_pages.h"
#include "fixpool/arena/slot_set.h"
#include "fixpool/io/error.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/region_id.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::arena {

// Pages of one size, in memory that the kernel knows as fixed buffers.
//
//   auto arena = PageArena::Create(registry, {.size_bytes = size_t{4} << 30});
//   absl::StatusOr<PageHandle> page = (*arena)->Allocate();
//   std::byte* bytes = (*arena)->AddressOf(*page);            // 4096 of them
//   engine->Submit({.operation = kRead, .region = page->region, .data = bytes, ...});
//   (*arena)->Free(*page);                                    // *page is stale for ever
//
// Shape: the memory is cut into regions of at most 1 GiB, each mapped on the best pages that
// the ladder allows, faulted in, and registered. No page lies in two regions. A page begins
// at a multiple of its size. Its bytes are not cleared: they are what its last owner left, or
// zero. Under AddressSanitizer, touching a page that is not allocated is an error.
//
// Ownership: the registry must outlive the arena. The destructor unregisters the regions,
// waiting for transfers in flight as ~Registration does, and unmaps what the kernel is done
// with. Pages need not be freed before; their handles are stale from then on, for every
// arena of the registry. A handle owns nothing.
//
// Threads: thread-safe but for destruction. Everything after Create is lock-free, in a number
// of steps that does not depend on the number of pages, and allocates no memory but for the
// message of an error. Check, Validate, Resolve and AddressOf are wait-free, and advisory: the
// answer is as good as the caller's claim on the page while it is used.
// A forked child does not have the memory (see Mapping) and must not use the arena.
//
// Errors of a handle, found by Free, Resolve, Check and Validate (see io::ValidationError):
//   kUnknownRegion    NotFound            no such region was ever registered
//   kStaleGeneration  FailedPrecondition  freed already, by whichever thread; kept beyond its
//                                         Free; never issued; or its region is gone
//   kForeignRegistry  PermissionDenied    of another registry, or of another arena in this one
//   kOutOfRegion      OutOfRange          no such page in the region
// Any bit pattern of a handle is safe.
//
// Why stacks by region and not one for all: see docs/arena_allocation.md.
class PageArena {
 public:
  static constexpr uint32_t kMinPageBytes = 4096;
  static constexpr uint32_t kMaxPageBytes = 1u << 20;

  struct Options {
    // Memory for pages. Rounded up to a multiple of page_bytes, and from 2 MiB on to one of
    // 2 MiB, so that huge pages fit. Default: enough to be of use, little enough to be had.
    size_t size_bytes = size_t{256} << 20;
    // Bytes of a page: a power of two from 4 KiB to 1 MiB. Default: what most engines use,
    // and the unit of the memory.
    uint32_t page_bytes = 4096;
    // The kernel's pages. Default: the best that can be had, region by region.
    Ladder ladder = {};
    // Whether the arena does without fixed buffers where RLIMIT_MEMLOCK forbids them.
    // Default: yes, and Report() says so.
    io::FixedBufferRegistry::FixedPolicy fixed = io::FixedBufferRegistry::FixedPolicy::kPrefer;
    // Bytes of a region: at least page_bytes, at most 1 GiB; rounded down as size_bytes is
    // rounded up. Default: the most that the kernel takes, since each region costs a slot.
    size_t region_bytes = io::MemoryRegion::kMaxBytes;
    // As in MappingOptions.
    uint32_t prefault_threads = 0;
    bool dont_dump = false;
  };

  // All of it, or an error and nothing left behind.
  // InvalidArgument: no registry, an option out of its range, or as Mapping::Create.
  // ResourceExhausted: no memory, no huge pages where required, fewer free slots in the
  // registry than regions, RLIMIT_MEMLOCK where fixed buffers are required. Others as
  // Mapping::Create and FixedBufferRegistry::Register; the message names the region.
  static absl::StatusOr<std::unique_ptr<PageArena>> Create(io::FixedBufferRegistry* registry,
                                                           Options options);
  static absl::StatusOr<std::unique_ptr<PageArena>> Create(io::FixedBufferRegistry* registry) {
    return Create(registry, Options());
  }
  ~PageArena();
  PageArena(const PageArena&) = delete;
  PageArena& operator=(const PageArena&) = delete;

  // A free page; nullopt if there is none. While fewer than page_count() - retired pages are
  // held, this succeeds: no page hides in a corner. Never allocates memory.
  std::optional<PageHandle> TryAllocate();
  // The same. ResourceExhausted: every page is allocated.
  absl::StatusOr<PageHandle> Allocate();

  // Gives a page back. The caller sees to it that nobody uses it any more, the kernel
  // included; of several threads that free the same page one gets OK. Errors: see above.
  absl::Status Free(PageHandle handle);

  // The page's first byte, nullptr if the handle is not that of a live page. A few ns.
  std::byte* AddressOf(PageHandle handle) const;
  // The same with a reason. Errors: see above.
  absl::StatusOr<std::byte*> Resolve(PageHandle handle) const;

  // Whether the handle is that of a live page: its region is in service and is this arena's,
  // and the page's generation is the handle's. nullopt is yes. A few ns.
  std::optional<io::ValidationError> Check(PageHandle handle) const;
  // The same with a message.
  absl::Status Validate(PageHandle handle) const;

  uint32_t page_bytes() const { return options_.page_bytes; }
  size_t page_count() const { return page_count_; }
  // Exact while no other thread allocates or frees.
  size_t free_count() const { return free_count_.load(std::memory_order_relaxed); }
  io::FixedBufferRegistry* registry() const { return registry_; }

  // Allocates memory, takes the registry's lock, and is for people and statistics.
  ArenaReport Report() const;

 private:
  // Destroyed from the last member to the first: it leaves the registry before anything else.
  struct Region {
    std::shared_ptr<Mapping> mapping;
    std::unique_ptr<RegionPages> pages;
    io::Registration registration;
  };

  PageArena(io::FixedBufferRegistry* registry, const Options& options);

  absl::Status AddRegion(size_t size_bytes);
  bool ReservePage();
  PageHandle TakeReserved();
  std::optional<uint32_t> SearchAllRegions() const;
  // The region, if it is in service and of this arena, or nullptr.
  RegionPages* Find(io::RegionId id) const;
  io::ValidationError WhyNot(PageHandle handle) const;
  absl::Status Explain(io::ValidationError error, PageHandle handle) const;

  io::FixedBufferRegistry* const registry_;
  const Options options_;
  size_t page_count_ = 0;        // set by Create
  std::vector<Region> regions_;  // filled by Create
  // By the slot of a region's id. A region is here while it is in service: put in after it was
  // registered, to be taken out before it is released. So a handle whose region id (which is
  // never issued twice) is found here needs no second look into the registry, which would cost
  // as much again (BM_PageArena_Check). What was once here lives as long as the arena, so that
  // whoever found it may look at it.
  const uint32_t slot_count_;
  const std::unique_ptr<std::atomic<RegionPages*>[]> by_slot_;
  // The slots of regions that may have a free page. A region that has one is in the set, but
  // for the moments in which a thread is between two steps of TakeReserved.
  SlotSet may_have_free_;
  std::atomic<size_t> retired_count_{0};
  // Pages that are free and not yet promised to a thread in TryAllocate.
  alignas(ABSL_CACHELINE_SIZE) std::atomic<size_t> free_count_{0};
};

inline RegionPages* PageArena::Find(io::RegionId id) const {
  if (ABSL_PREDICT_FALSE(id.slot() >= slot_count_)) return nullptr;
  RegionPages* const pages = by_slot_[id.slot()].load(std::memory_order_acquire);
  if (ABSL_PREDICT_FALSE(pages == nullptr || pages->id() != id)) return nullptr;
  return pages;
}

inline std::byte* PageArena::AddressOf(PageHandle handle) const {
  const RegionPages* const pages = Find(handle.region);
  if (ABSL_PREDICT_FALSE(pages == nullptr ||
                         !pages->IsLive(handle.page_index, handle.generation))) {
    return nullptr;
  }
  return pages->AddressOf(handle.page_index);
}

inline std::optional<io::ValidationError> PageArena::Check(PageHandle handle) const {
  if (ABSL_PREDICT_TRUE(AddressOf(handle) != nullptr)) return std::nullopt;
  return WhyNot(handle);
}

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_PAGE_ARENA_H_
