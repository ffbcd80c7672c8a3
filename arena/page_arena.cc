#include "fixpool/arena/page_arena.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "fixpool/arena/format_bytes.h"
#include "fixpool/io/memory_region.h"

namespace fixpool::arena {
namespace {

constexpr size_t kHugeBytes = size_t{2} << 20;

// The alignment that transfers of whole pages have anyway, up to what any device asks for.
constexpr uint32_t kTransferAlignment = 4096;

// What sizes are rounded to: whole pages, and whole huge pages where one fits.
size_t RoundingUnit(size_t size_bytes, uint32_t page_bytes) {
  return size_bytes < kHugeBytes ? page_bytes : kHugeBytes;
}

size_t RoundDown(size_t bytes, size_t unit) { return bytes / unit * unit; }

absl::Status CheckOptions(const io::FixedBufferRegistry* registry,
                          const PageArena::Options& options) {
  if (registry == nullptr) return absl::InvalidArgumentError("PageArena: the registry is null");
  const uint32_t page_bytes = options.page_bytes;
  if (!std::has_single_bit(page_bytes) || page_bytes < PageArena::kMinPageBytes ||
      page_bytes > PageArena::kMaxPageBytes) {
    return absl::InvalidArgumentError(absl::StrCat("PageArena: page_bytes ", page_bytes,
                                                   " is not a power of two from 4096 to 1048576"));
  }
  if (options.region_bytes < page_bytes || options.region_bytes > io::MemoryRegion::kMaxBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("PageArena: region_bytes ", options.region_bytes, " is not in ", page_bytes,
                     " (one page) to 1073741824 (1 GiB, the most that the kernel registers)"));
  }
  if (options.size_bytes == 0) return absl::InvalidArgumentError("PageArena: size_bytes is 0");
  return absl::OkStatus();
}

// Makes size_bytes and region_bytes what they will be.
PageArena::Options Rounded(PageArena::Options options) {
  options.region_bytes =
      RoundDown(options.region_bytes, RoundingUnit(options.region_bytes, options.page_bytes));
  const size_t unit = std::min(RoundingUnit(options.size_bytes, options.page_bytes),
                               RoundingUnit(options.region_bytes, options.page_bytes));
  const size_t rest = options.size_bytes % unit;
  const size_t missing = rest == 0 ? 0 : unit - rest;
  // No machine has that much; the registry's capacity will say so.
  if (missing > std::numeric_limits<size_t>::max() - options.size_bytes) {
    options.size_bytes = RoundDown(options.size_bytes, unit);
  } else {
    options.size_bytes += missing;
  }
  return options;
}

absl::Status CheckCapacity(const io::FixedBufferRegistry& registry,
                           const PageArena::Options& options) {
  const size_t wanted =
      options.size_bytes / options.region_bytes + (options.size_bytes % options.region_bytes != 0);
  const size_t used = registry.region_count();
  const size_t free = registry.capacity() > used ? registry.capacity() - used : 0;
  if (wanted <= free) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "PageArena: ", options.size_bytes, " bytes are ", wanted, " regions of ",
      FormatBytes(options.region_bytes), ", but the registry has ", free, " free slots of ",
      registry.capacity(), "; raise FixedBufferRegistry::Options::capacity (at most ",
      io::FixedBufferRegistry::kMaxRegions, ") or region_bytes"));
}

// `status` with the words of where it happened in front, code and payloads kept.
absl::Status InRegion(size_t index, const absl::Status& status) {
  absl::Status named(status.code(),
                     absl::StrCat("PageArena: region ", index, ": ", status.message()));
  status.ForEachPayload([&named](absl::string_view url, const absl::Cord& payload) {
    named.SetPayload(url, payload);
  });
  return named;
}

}  // namespace

PageArena::PageArena(io::FixedBufferRegistry* registry, const Options& options)
    : registry_(registry),
      options_(options),
      slot_count_(registry->capacity()),
      by_slot_(std::make_unique<std::atomic<RegionPages*>[]>(slot_count_)),
      may_have_free_(slot_count_) {}

PageArena::~PageArena() = default;

absl::StatusOr<std::unique_ptr<PageArena>> PageArena::Create(io::FixedBufferRegistry* registry,
                                                             Options options) {
  if (absl::Status status = CheckOptions(registry, options); !status.ok()) return status;
  options = Rounded(options);
  if (absl::Status status = CheckCapacity(*registry, options); !status.ok()) return status;
  std::unique_ptr<PageArena> arena(new PageArena(registry, options));
  for (size_t left = options.size_bytes; left > 0;) {
    const size_t size_bytes = std::min(left, options.region_bytes);
    absl::Status status = arena->AddRegion(size_bytes);
    // The regions made so far go with the arena.
    if (!status.ok()) return InRegion(arena->regions_.size(), status);
    left -= size_bytes;
  }
  return arena;
}

absl::Status PageArena::AddRegion(size_t size_bytes) {
  Region added;
  absl::StatusOr<std::shared_ptr<Mapping>> mapping =
      Mapping::Create(size_bytes, {.ladder = options_.ladder,
                                   .dont_dump = options_.dont_dump,
                                   .prefault_threads = options_.prefault_threads});
  if (!mapping.ok()) return mapping.status();
  added.mapping = *std::move(mapping);
  absl::StatusOr<io::MemoryRegion> region =
      io::MemoryRegion::Create(added.mapping->base(), size_bytes);
  if (!region.ok()) return region.status();
  absl::StatusOr<io::Registration> registration = registry_->Register(
      *region,
      {.backing = added.mapping, .alignment_bytes = kTransferAlignment, .fixed = options_.fixed});
  if (!registration.ok()) return registration.status();
  added.registration = *std::move(registration);
  const io::RegionId id = added.registration.id();
  added.pages = std::make_unique<RegionPages>(*region, id, options_.page_bytes);

  by_slot_[id.slot()].store(added.pages.get(), std::memory_order_release);
  may_have_free_.Insert(id.slot());
  page_count_ += added.pages->page_count();
  free_count_.fetch_add(added.pages->page_count(), std::memory_order_release);
  regions_.push_back(std::move(added));
  return absl::OkStatus();
}

// Takes one page out of free_count_, if there is one. Compare-and-swap and not a subtraction
// that is undone: that would hide a free page from a third thread for a moment.
bool PageArena::ReservePage() {
  size_t count = free_count_.load(std::memory_order_relaxed);
  while (count > 0) {
    if (free_count_.compare_exchange_weak(count, count - 1, std::memory_order_acquire,
                                          std::memory_order_relaxed)) {
      return true;
    }
  }
  return false;
}

// Finds the page that ReservePage promised. It is on some stack: Free puts a page there
// before it counts it. If another thread takes the one that was seen, then another is there.
PageHandle PageArena::TakeReserved() {
  while (true) {
    std::optional<uint32_t> slot = may_have_free_.First();
    if (!slot.has_value()) slot = SearchAllRegions();
    if (!slot.has_value()) continue;
    RegionPages* const pages = by_slot_[*slot].load(std::memory_order_acquire);
    if (const std::optional<RegionPages::Taken> taken = pages->Take()) {
      return {.region = pages->id(), .page_index = taken->index, .generation = taken->generation};
    }
    // Remove, then look again: a page freed before the removal is seen here, one freed after
    // it finds its region missing in the set and puts it there.
    may_have_free_.Remove(*slot);
    if (pages->MayTake()) may_have_free_.Insert(*slot);
  }
}

// For the moments in which the set is behind. Reached only while another thread is between
// the two steps above, and then rather looks itself than waits for that thread.
std::optional<uint32_t> PageArena::SearchAllRegions() const {
  for (const Region& region : regions_) {
    if (region.pages->MayTake()) return region.pages->id().slot();
  }
  return std::nullopt;
}

std::optional<PageHandle> PageArena::TryAllocate() {
  if (!ReservePage()) return std::nullopt;
  return TakeReserved();
}

absl::StatusOr<PageHandle> PageArena::Allocate() {
  const std::optional<PageHandle> handle = TryAllocate();
  if (ABSL_PREDICT_TRUE(handle.has_value())) return *handle;
  return absl::ResourceExhaustedError(absl::StrCat("PageArena: all ", page_count_, " pages of ",
                                                   FormatBytes(options_.page_bytes),
                                                   " are allocated"));
}

absl::Status PageArena::Free(PageHandle handle) {
  RegionPages* const pages = Find(handle.region);
  if (pages == nullptr || handle.page_index >= pages->page_count()) {
    return Explain(WhyNot(handle), handle);
  }
  switch (pages->Give(handle.page_index, handle.generation)) {
    case RegionPages::Given::kFreed:
      may_have_free_.Insert(handle.region.slot());
      free_count_.fetch_add(1, std::memory_order_release);
      return absl::OkStatus();
    case RegionPages::Given::kRetired:
      retired_count_.fetch_add(1, std::memory_order_relaxed);
      return absl::OkStatus();
    case RegionPages::Given::kStale:
      break;
  }
  return Explain(io::ValidationError::kStaleGeneration, handle);
}

io::ValidationError PageArena::WhyNot(PageHandle handle) const {
  // The registry looks at the id first; that nothing is at address 0 is not what we ask.
  const std::optional<io::ValidationError> error = registry_->Check(handle.region, nullptr, 0);
  if (error.has_value() && *error != io::ValidationError::kOutOfRegion &&
      *error != io::ValidationError::kMisaligned) {
    return *error;
  }
  const RegionPages* const pages = Find(handle.region);
  if (pages == nullptr) return io::ValidationError::kForeignRegistry;
  if (handle.page_index >= pages->page_count()) return io::ValidationError::kOutOfRegion;
  return io::ValidationError::kStaleGeneration;
}

absl::Status PageArena::Explain(io::ValidationError error, PageHandle handle) const {
  std::string message = absl::StrCat(handle.ToString(), ": ");
  const RegionPages* const pages = Find(handle.region);
  switch (error) {
    case io::ValidationError::kUnknownRegion:
      absl::StrAppend(&message, "no such region was ever registered");
      break;
    case io::ValidationError::kForeignRegistry:
      absl::StrAppend(&message, "the region is not one of this arena");
      break;
    case io::ValidationError::kOutOfRegion:
      absl::StrAppend(&message, "the region has ", pages == nullptr ? 0 : pages->page_count(),
                      " pages");
      break;
    case io::ValidationError::kMisaligned:
      break;  // no such thing: an index has no alignment
    case io::ValidationError::kStaleGeneration:
      if (pages == nullptr || handle.page_index >= pages->page_count()) {
        absl::StrAppend(&message, "the region was, or is being, unregistered");
        break;
      }
      absl::StrAppend(&message, "the page is in generation ",
                      pages->GenerationOf(handle.page_index),
                      "; the handle was freed already, or kept beyond its Free");
      break;
  }
  return io::ValidationStatus(error, message);
}

absl::StatusOr<std::byte*> PageArena::Resolve(PageHandle handle) const {
  std::byte* const address = AddressOf(handle);
  if (ABSL_PREDICT_TRUE(address != nullptr)) return address;
  return Explain(WhyNot(handle), handle);
}

absl::Status PageArena::Validate(PageHandle handle) const {
  const std::optional<io::ValidationError> error = Check(handle);
  return error.has_value() ? Explain(*error, handle) : absl::OkStatus();
}

ArenaReport PageArena::Report() const {
  ArenaReport report{.page_bytes = options_.page_bytes,
                     .page_count = page_count_,
                     .free_count = free_count(),
                     .retired_count = retired_count_.load(std::memory_order_relaxed)};
  for (const Region& region : regions_) {
    RegionReport entry{.id = region.pages->id(),
                       .size_bytes = region.mapping->size_bytes(),
                       .mapping = region.mapping->report()};
    const auto info = registry_->InfoOf(entry.id);
    if (info.ok()) {
      entry.fixed = info->fixed;
      entry.fixed_errno = info->fixed_errno;
    }
    report.regions.push_back(std::move(entry));
  }
  return report;
}

}  // namespace fixpool::arena
