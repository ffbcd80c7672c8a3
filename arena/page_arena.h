#ifndef FIXPOOL_ARENA_PAGE_ARENA_H_
#define FIXPOOL_ARENA_PAGE_ARENA_H_

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/base/attributes.h"
#include "absl/base/optimization.h"
#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "fixpool/arena/address_range.h"
#include "fixpool/arena/arena_report.h"
#include "fixpool/arena/free_page.h"
#include "fixpool/arena/ladder.h"
#include "fixpool/arena/magazine.h"
#include "fixpool/arena/mapping.h"
#include "fixpool/arena/numa_placement.h"
#include "fixpool/arena/page_handle.h"
#include "fixpool/arena/page_owner.h"
#include "fixpool/arena/page_store.h"
#include "fixpool/arena/region_pages.h"
#include "fixpool/arena/thread_magazines.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/error.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/fork_guard.h"
#include "fixpool/io/mutex.h"
#include "fixpool/io/region_id.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::arena {

// Pages in memory that the kernel knows as fixed buffers.
//
//   auto arena = PageArena::Create(registry, {.size_bytes = size_t{4} << 30});
//   absl::StatusOr<PageHandle> page = (*arena)->Allocate();
//   std::byte* bytes = (*arena)->AddressOf(*page);            // 4096 of them
//   engine->Submit({.operation = kRead, .region = page->region, .data = bytes, ...});
//   (*arena)->Free(*page);                                    // *page is stale for ever
//   (*arena)->Allocate(65536);                                // a larger one, same memory
//   (*arena)->Grow(size_t{1} << 30);                          // and back, see Shrink
//
// Shape: the memory is cut into regions of at most 1 GiB, each mapped on the best pages that
// the ladder allows, faulted in, and registered. A page is page_bytes() large, or any power of
// two of them up to 1 MiB, all sizes from the same regions. No page lies in two regions. A page
// begins at a multiple of its size. Its bytes are not cleared: they are what its last owner left,
// or zero. Under AddressSanitizer, touching a page that is not allocated is an error.
//
// Ownership: the registry must outlive the arena. The destructor unregisters the regions,
// waiting for transfers in flight as ~Registration does, and unmaps what the kernel is done
// with. Pages need not be freed before; their handles are stale from then on, for every
// arena of the registry. A handle owns nothing.
//
// Threads: thread-safe but for destruction. A thread keeps a few free pages to itself, so that
// most calls of TryAllocate and Free meet nobody; the others take a lock for a step whose length
// does not depend on the number of pages. No page is lost to other threads by that: before an
// allocation fails, what the threads keep is taken back from them, and when a thread exits it
// gives back what it has. After Create nothing but Grow allocates memory, except for the message
// of an error. Check, Validate, Resolve and AddressOf are wait-free, and advisory: the answer
// is as good as the caller's claim on the page while it is used.
// A forked child does not have the memory (see Mapping): there TryAllocate gives nothing, and
// Allocate, Free, Resolve, Grow and Shrink answer FailedPrecondition. Check, Validate and
// AddressOf do not look.
//
// Errors of a handle, found by Free, Resolve, Check and Validate (see io::ValidationError):
//   kUnknownRegion    NotFound            no such region was ever registered
//   kStaleGeneration  FailedPrecondition  freed already, by whichever thread; kept beyond its
//                                         Free; never issued; or its region is gone
//   kForeignRegistry  PermissionDenied    of another registry, or of another arena in this one
//   kOutOfRegion      OutOfRange          no such page in the region
// Any bit pattern of a handle is safe.
//
// How pages of several sizes share the memory: see docs/arena_allocation.md.
class PageArena {
 public:
  static constexpr uint32_t kMinPageBytes = 4096;
  static constexpr uint32_t kMaxPageBytes = 1u << 20;

  struct Options {
    // Memory for pages. Rounded up to a multiple of page_bytes, and from 2 MiB on to one of
    // 2 MiB, so that huge pages fit. Default: enough to be of use, little enough to be had.
    size_t size_bytes = size_t{256} << 20;
    // Bytes of the smallest page, and of one if nothing else is said: a power of two from 4 KiB
    // to 1 MiB. Default: what most engines use, and the unit of the memory.
    uint32_t page_bytes = 4096;
    // The kernel's pages. Default: the best that can be had, region by region.
    Ladder ladder = {};
    // Whether the arena does without fixed buffers where RLIMIT_MEMLOCK forbids them.
    // Default: yes, and Report() says so.
    io::FixedBufferRegistry::FixedPolicy fixed = io::FixedBufferRegistry::FixedPolicy::kPrefer;
    // Bytes of a region: at least page_bytes, at most 1 GiB; rounded down as size_bytes is
    // rounded up. Shrink gives back whole regions, and larger pages need regions that hold
    // them. Default: the most that the kernel takes, since each region costs a slot.
    size_t region_bytes = io::MemoryRegion::kMaxBytes;
    // As in MappingOptions.
    uint32_t prefault_threads = 0;
    bool dont_dump = false;
    NumaPlacement numa = {};
    // How many threads have free pages of their own; threads beyond these take the lock for
    // every page. Each costs a little over 1 KiB. Default: enough for one thread a CPU of most
    // machines.
    uint32_t thread_magazines = 64;
  };

  // All of it, or an error and nothing left behind.
  // InvalidArgument: no registry, an option out of its range, or as Mapping::Create.
  // ResourceExhausted: no memory (more than the machine has in all, for one), no huge pages where
  // required, fewer free slots in the registry than regions, RLIMIT_MEMLOCK where fixed buffers are
  // required. Others as Mapping::Create and FixedBufferRegistry::Register; the message names the
  // region.
  static absl::StatusOr<std::unique_ptr<PageArena>> Create(io::FixedBufferRegistry* registry,
                                                           Options options);
  static absl::StatusOr<std::unique_ptr<PageArena>> Create(io::FixedBufferRegistry* registry) {
    return Create(registry, Options());
  }
  ~PageArena();
  PageArena(const PageArena&) = delete;
  PageArena& operator=(const PageArena&) = delete;

  // A free page of page_bytes(); nullopt if there is none. While fewer than page_count() -
  // retired pages are held (and only such), this succeeds: no page hides in a corner.
  ABSL_ATTRIBUTE_ALWAYS_INLINE std::optional<PageHandle> TryAllocate() {
    return TryAllocateOrder(0);
  }
  // A free page of `size_bytes`: page_bytes() times a power of two, at most 1 MiB. nullopt: no
  // such run of pages is free, or there is no such size.
  std::optional<PageHandle> TryAllocate(size_t size_bytes);
  // The same. ResourceExhausted: every page is allocated, or what is free is in smaller pieces.
  // InvalidArgument: no such size.
  absl::StatusOr<PageHandle> Allocate();
  absl::StatusOr<PageHandle> Allocate(size_t size_bytes);

  // Gives a page back. The caller sees to it that nobody uses it any more, the kernel
  // included; of several threads that free the same page one gets OK. Errors: see above.
  absl::Status Free(PageHandle handle);

  // How large the page is; 0 if the handle is not that of a live page. A few ns.
  size_t SizeOf(PageHandle handle) const;

  // The page's first byte, nullptr if the handle is not that of a live page. A few ns.
  std::byte* AddressOf(PageHandle handle) const;
  // The same with a reason. Errors: see above.
  absl::StatusOr<std::byte*> Resolve(PageHandle handle) const;

  // Whether the handle is that of a live page: its region is in service and is this arena's,
  // and the page's generation is the handle's. nullopt is yes. A few ns.
  std::optional<io::ValidationError> Check(PageHandle handle) const;
  // The same with a message.
  absl::Status Validate(PageHandle handle) const;

  // Adds memory: `bytes` more, rounded as by Create, in regions of at most region_bytes. All of
  // it, or an error (those of Create) and the arena is as before. Other threads go on meanwhile;
  // the new pages are theirs when Grow returns.
  absl::Status Grow(size_t bytes);

  // Gives memory back to the system: whole regions of together at most `bytes`, those first that
  // have the fewest pages allocated, and never the last. What was given back, in bytes.
  //
  // From the start of the call no page of these regions is handed out, but for those that are on
  // their way at that moment. The owners (AddOwner) are
  // asked to give up theirs, and pages that are freed by anybody are waited for. When a region
  // is empty it is unregistered, in every ring, and its memory is the system's at once. Handles
  // of its pages are stale for ever, also when memory is mapped at its addresses again. Whoever
  // still looks there reads zeros, not a fault: the addresses stay the arena's, read-only, until
  // a later Grow uses them or the arena goes.
  //
  // DeadlineExceeded: pages were still held, or transfers in flight; everything is as before and
  // in service, unless some regions were gone already, which is then OK with their bytes.
  // InvalidArgument: `bytes` is less than the smallest region, or there is only one region.
  // FailedPrecondition: another thread is inside Grow or Shrink, and was still at `deadline`.
  // Others: a ring would not give a region up (Internal), or the kernel not take its memory
  // (ResourceExhausted, vm.max_map_count); that region is out of service and its memory is kept.
  absl::StatusOr<size_t> Shrink(size_t bytes, io::Deadline deadline);

  // Who is asked for pages by Shrink. An owner must be removed before it dies; RemoveOwner waits
  // for a call to it to end.
  void AddOwner(PageOwner* owner);
  void RemoveOwner(PageOwner* owner);

  uint32_t page_bytes() const { return options_.page_bytes; }
  // Options::region_bytes, rounded: what Shrink gives back at a time, but for a last, smaller one.
  size_t region_bytes() const { return options_.region_bytes; }
  // In pages of page_bytes(), as all counts. Changes with Grow and Shrink.
  size_t page_count() const { return page_count_.load(std::memory_order_relaxed); }
  // Exact while no other thread allocates or frees. Looks into all threads' magazines.
  size_t free_count() const;
  // Of the tables beside the pages, for those that it has now.
  size_t metadata_bytes() const;
  io::FixedBufferRegistry* registry() const { return registry_; }

  // Allocates memory, takes the registry's lock, and is for people and statistics.
  ArenaReport Report() const;

 private:
  // Destroyed from the last member to the first: it leaves the registry before anything else.
  struct Region {
    std::shared_ptr<Mapping> mapping;
    io::Registration registration;
  };
  enum class Draining { kEmpty, kDeadline };

  PageArena(io::FixedBufferRegistry* registry, const Options& options);

  // The order of pages of that size, or -1.
  int OrderOf(size_t size_bytes) const;
  std::optional<PageHandle> TryAllocateOrder(int order);
  std::optional<PageHandle> AllocateSlow(int order);
  size_t TakeLocked(Magazine* magazine, int order, absl::Span<FreePage> out)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeAllOf(Magazine& magazine) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Reopen(Magazine& magazine) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // With the generation, as Claim and the magazines want it.
  FreePage WithGeneration(FreePage page) const;
  static FreePage FreedFrom(PageHandle handle);
  PageHandle Claim(FreePage page, int order);
  absl::Status FreeSlow(PageHandle handle);
  absl::Status Refuse(PageHandle handle) const;
  void GiveBack(RegionPages& pages, Magazine* magazine, FreePage page, int order);
  void Empty(Magazine& magazine);
  absl::Status Exhausted(int order) const;

  absl::StatusOr<Region> MakeRegion(size_t size_bytes);
  absl::StatusOr<std::shared_ptr<Mapping>> MakeMapping(size_t size_bytes);
  absl::Status Retire(std::shared_ptr<Mapping> mapping);
  void Unmake(Region region);
  void Publish(Region region);
  std::vector<io::RegionId> ChooseVictims(size_t bytes) const;
  void Suspend(absl::Span<const io::RegionId> victims);
  void Resume(io::RegionId victim);
  Draining WaitUntilEmpty(absl::Span<const io::RegionId> victims, io::Deadline deadline);
  size_t PagesOutOf(absl::Span<const io::RegionId> victims);
  absl::StatusOr<size_t> TakeOut(io::RegionId victim, io::Deadline deadline);
  void AskOwners(absl::Span<const io::RegionId> victims, io::Deadline deadline);

  RegionPages* PagesIn(uint16_t slot) const { return &by_slot_[slot]; }
  // The table of a live page of this arena, or nullptr.
  const RegionPages* FindLive(PageHandle handle) const;
  // The region, if it is in service and of this arena, or nullptr.
  RegionPages* Find(io::RegionId id) const;
  io::ValidationError WhyNot(PageHandle handle) const;
  absl::Status Explain(io::ValidationError error, PageHandle handle) const;

  io::FixedBufferRegistry* const registry_;
  const Options options_;
  const MagazineShape shape_;
  const io::ForkGuard fork_guard_;
  // By the slot of a region's id. One of no pages until the arena first has a region there. In
  // one piece, so that a check of a handle need not find the table first. A region is in service
  // while its slot's table has its id: from after it was registered until before it is released.
  // So a handle whose region id (which is never issued twice) is found here needs no second look
  // into the registry, which would cost as much again (BM_PageArena_Check), and whoever found a
  // table may go on looking at it.
  const uint32_t slot_count_;
  const std::unique_ptr<RegionPages[]> by_slot_;
  std::atomic<size_t> page_count_{0};
  // Bumped and woken when a page of a draining region is freed.
  std::atomic<uint32_t> drained_{0};

  // Free pages are in the store or in a magazine, in nobody's hands but under this lock. It
  // is the magazines' lock.
  mutable io::Mutex mutex_;
  PageStore store_ ABSL_GUARDED_BY(mutex_);

  // 1 while a thread is inside Grow or Shrink. Not a lock, because waiting for it has a deadline.
  std::atomic<uint32_t> resizing_{0};
  class ResizeTurn;

  mutable io::Mutex regions_mutex_;  // before mutex_ where both are taken
  std::vector<Region> regions_ ABSL_GUARDED_BY(regions_mutex_);
  // Addresses of regions that went, for those that come; and memory that could not go.
  std::vector<AddressRange> retired_ ABSL_GUARDED_BY(regions_mutex_);
  std::vector<std::shared_ptr<Mapping>> kept_ ABSL_GUARDED_BY(regions_mutex_);

  io::Mutex owners_mutex_;
  std::vector<PageOwner*> owners_ ABSL_GUARDED_BY(owners_mutex_);

  // Last, so that no thread gives pages back to what is gone.
  mutable ThreadMagazines magazines_;
};

inline RegionPages* PageArena::Find(io::RegionId id) const {
  if (ABSL_PREDICT_FALSE(id.slot() >= slot_count_)) return nullptr;
  RegionPages* const pages = PagesIn(id.slot());
  if (ABSL_PREDICT_FALSE(pages->id() != id)) return nullptr;
  return pages;
}

inline const RegionPages* PageArena::FindLive(PageHandle handle) const {
  const uint16_t slot = handle.region.slot();
  if (ABSL_PREDICT_FALSE(slot >= slot_count_)) return nullptr;
  const RegionPages* const pages = &by_slot_[slot];
  const bool live =
      pages->id() == handle.region && pages->IsLive(handle.page_index, handle.generation);
  return ABSL_PREDICT_TRUE(live) ? pages : nullptr;
}

inline std::byte* PageArena::AddressOf(PageHandle handle) const {
  const RegionPages* const pages = FindLive(handle);
  return pages == nullptr ? nullptr : pages->AddressOf(handle.page_index);
}

inline size_t PageArena::SizeOf(PageHandle handle) const {
  const RegionPages* const pages = FindLive(handle);
  return pages == nullptr ? 0 : size_t{options_.page_bytes} << pages->OrderOf(handle.page_index);
}

inline std::optional<io::ValidationError> PageArena::Check(PageHandle handle) const {
  if (FindLive(handle) != nullptr) return std::nullopt;
  return WhyNot(handle);
}

inline FreePage PageArena::FreedFrom(PageHandle handle) {
  return {.slot = handle.region.slot(),
          .page_index = handle.page_index,
          .generation = handle.generation + 1};
}

// The handle's second half is written at once: written in two pieces and then copied as a whole, as
// callers do, it would make the processor wait (BM_PageArena_AllocateFree).
inline PageHandle PageArena::Claim(FreePage page, int order) {
  RegionPages& pages = *PagesIn(page.slot);
  const uint64_t generation = pages.Claim(page.page_index, order, page.generation);
  const std::array<uint64_t, 2> words = {pages.id().bits(),
                                         std::endian::native == std::endian::little
                                             ? generation << 32 | page.page_index
                                             : uint64_t{page.page_index} << 32 | generation};
  return std::bit_cast<PageHandle>(words);
}

// Here and in Free a call of anything out of line is the last thing that happens, so that nothing
// needs to be saved for after it: that, too, is memory to write and to wait for.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline std::optional<PageHandle> PageArena::TryAllocateOrder(
    int order) {
  Magazine* const magazine = magazines_.MineIfKnown();
  if (ABSL_PREDICT_FALSE(magazine == nullptr || fork_guard_.forked())) return AllocateSlow(order);
  const uint64_t word = magazine->PopPacked(shape_, order);
  if (ABSL_PREDICT_FALSE(word == Magazine::kNone)) return AllocateSlow(order);
  return Claim(FreePage::Unpack(word), order);
}

inline absl::StatusOr<PageHandle> PageArena::Allocate() {
  const std::optional<PageHandle> handle = TryAllocateOrder(0);
  if (ABSL_PREDICT_TRUE(handle.has_value())) return *handle;
  return Exhausted(0);
}

// What waits for the compare-and-swap in Release should be little, so all that can be found out
// before it is.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline absl::Status PageArena::Free(PageHandle handle) {
  Magazine* const magazine = magazines_.MineIfKnown();
  RegionPages* const pages = Find(handle.region);
  if (ABSL_PREDICT_FALSE(magazine == nullptr || pages == nullptr || fork_guard_.forked() ||
                         handle.page_index >= pages->page_count() || pages->draining())) {
    return FreeSlow(handle);
  }
  if (ABSL_PREDICT_FALSE(!magazine->Enter())) return FreeSlow(handle);
  int order = pages->OrderOf(handle.page_index);
  const int place = magazine->PlaceFor(shape_, order);
  if (ABSL_PREDICT_FALSE(place < 0)) {
    magazine->Leave();
    return FreeSlow(handle);
  }
  const RegionPages::Released released =
      pages->Release(handle.page_index, handle.generation, order);
  if (ABSL_PREDICT_TRUE(released == RegionPages::Released::kFreed)) {
    magazine->PushInside(order, place, FreedFrom(handle));
  }
  magazine->Leave();
  if (ABSL_PREDICT_FALSE(released == RegionPages::Released::kStale)) return Refuse(handle);
  return absl::OkStatus();
}

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_PAGE_ARENA_H_
