#include "fixpool/arena/page_arena.h"

#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/strings/str_cat.h"
#include "fixpool/arena/format_bytes.h"
#include "fixpool/arena/region_rounding.h"
#include "fixpool/io/memory_region.h"

namespace fixpool::arena {

static_assert(io::FixedBufferRegistry::kMaxRegions <= 1u << 14);  // as FreePage has it
static_assert(RegionPages::kMaxPages <= 1u << 18);

namespace {

// A thread gets 1/2^kFairShare of what the store has at most.
constexpr int kFairShare = 4;

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

}  // namespace

PageArena::PageArena(io::FixedBufferRegistry* registry, const Options& options)
    : registry_(registry),
      options_(options),
      shape_(options.page_bytes),
      slot_count_(registry->capacity()),
      by_slot_(std::make_unique<RegionPages[]>(slot_count_)),
      store_(slot_count_, OrderOf(kMaxPageBytes)),
      magazines_(options.thread_magazines, [this](Magazine& magazine) { Empty(magazine); }) {}

PageArena::~PageArena() = default;

absl::StatusOr<std::unique_ptr<PageArena>> PageArena::Create(io::FixedBufferRegistry* registry,
                                                             Options options) {
  if (absl::Status status = CheckOptions(registry, options); !status.ok()) return status;
  options.region_bytes =
      RoundDown(options.region_bytes, RoundingUnit(options.region_bytes, options.page_bytes));
  std::unique_ptr<PageArena> arena(new PageArena(registry, options));
  if (absl::Status status = arena->Grow(options.size_bytes); !status.ok()) return status;
  return arena;
}

// ---- Allocating ----

int PageArena::OrderOf(size_t size_bytes) const {
  if (!std::has_single_bit(size_bytes) || size_bytes < options_.page_bytes ||
      size_bytes > kMaxPageBytes) {
    return -1;
  }
  return std::countr_zero(size_bytes) - std::countr_zero(options_.page_bytes);
}

// Fills half of the magazine with what is left in plenty, one page with what is not.
ABSL_ATTRIBUTE_NOINLINE std::optional<PageHandle> PageArena::AllocateSlow(int order) {
  if (fork_guard_.forked()) return std::nullopt;
  Magazine* const magazine = magazines_.Mine();
  std::array<FreePage, MagazineShape::kMostPerOrder / 2 + 1> taken;
  io::MutexLock lock(mutex_);
  if (magazine != nullptr && magazine->closed()) Reopen(*magazine);
  const bool fill = magazine != nullptr && !magazine->closed();
  const size_t room = fill ? shape_.CapacityOf(order) / 2 : 0;
  const size_t fair = store_.free_pages() >> order >> kFairShare;
  const size_t count =
      TakeLocked(magazine, order, absl::MakeSpan(taken).first(1 + std::min(room, fair)));
  if (count == 0) return std::nullopt;
  // The lowest is handed out first, so the others go in from the highest down.
  for (size_t i = count - 1; i > 0; --i) {
    const FreePage page = WithGeneration(taken[i]);
    if (!magazine->PushLocked(shape_, order, page)) store_.Give(page, order);
  }
  return Claim(WithGeneration(taken[0]), order);
}

FreePage PageArena::WithGeneration(FreePage page) const {
  page.generation = PagesIn(page.slot)->GenerationOf(page.page_index);
  return page;
}

// Where pages are so scarce that they were taken back from the threads, the next ones would have to
// be taken back soon, at some microseconds a time; so the threads do without magazines meanwhile.
void PageArena::Reopen(Magazine& magazine) {
  TakeAllOf(magazine);  // if it was closed, but nobody dared to take what is in it
  if (store_.free_pages() >> kFairShare > 0) magazine.Open(magazines_.barrier());
}

void PageArena::TakeAllOf(Magazine& magazine) {
  magazine.TakeAll(shape_, [&](FreePage page, int order) {
    mutex_.AssertHeld();
    store_.Give(page, order);
  });
}

// 0 only if there was a moment in which no such run was free. Nothing moves between store and
// magazines meanwhile.
size_t PageArena::TakeLocked(Magazine* magazine, int order, absl::Span<FreePage> out) {
  size_t count = store_.Take(order, out);
  if (count > 0) return count;
  if (magazine != nullptr) TakeAllOf(*magazine);
  count = store_.Take(order, out.first(1));
  if (count > 0) return count;
  magazines_.Recall(shape_, magazine, [&](FreePage page, int its_order) {
    mutex_.AssertHeld();
    store_.Give(page, its_order);
  });
  return store_.Take(order, out.first(1));
}

std::optional<PageHandle> PageArena::TryAllocate(size_t size_bytes) {
  const int order = OrderOf(size_bytes);
  if (order < 0) return std::nullopt;
  return TryAllocateOrder(order);
}

absl::StatusOr<PageHandle> PageArena::Allocate(size_t size_bytes) {
  const int order = OrderOf(size_bytes);
  if (order < 0) {
    return absl::InvalidArgumentError(absl::StrCat("PageArena: a page of ", size_bytes,
                                                   " bytes is not ", options_.page_bytes,
                                                   " times a power of two, up to ", kMaxPageBytes));
  }
  const std::optional<PageHandle> handle = TryAllocateOrder(order);
  if (ABSL_PREDICT_TRUE(handle.has_value())) return *handle;
  return Exhausted(order);
}

absl::Status PageArena::Exhausted(int order) const {
  if (fork_guard_.forked()) return fork_guard_.Refusal("PageArena::Allocate");
  const size_t free = free_count();
  if (order == 0 || free == 0) {
    return absl::ResourceExhaustedError(absl::StrCat("PageArena: all ", page_count(), " pages of ",
                                                     FormatBytes(options_.page_bytes),
                                                     " are allocated"));
  }
  return absl::ResourceExhaustedError(
      absl::StrCat("PageArena: no ", FormatBytes(size_t{options_.page_bytes} << order),
                   " in one piece are free; ", free, " of ", page_count(), " pages of ",
                   FormatBytes(options_.page_bytes), " are, scattered between pages in use"));
}

size_t PageArena::metadata_bytes() const {
  io::MutexLock lock(mutex_);
  return page_count() * RegionPages::kBytesBesideAPage + store_.size_bytes();
}

size_t PageArena::free_count() const {
  io::MutexLock lock(mutex_);
  size_t count = store_.free_pages();
  magazines_.ForEach([&](const Magazine& magazine) { count += magazine.CountPages(); });
  return count;
}

// ---- Freeing ----

// Everything that Free does not do itself: errors, and pages that are not for the magazine.
ABSL_ATTRIBUTE_NOINLINE absl::Status PageArena::FreeSlow(PageHandle handle) {
  if (fork_guard_.forked()) return fork_guard_.Refusal("PageArena::Free");
  RegionPages* const pages = Find(handle.region);
  if (pages == nullptr || handle.page_index >= pages->page_count()) return Refuse(handle);
  int order = 0;
  const RegionPages::Released released =
      pages->Release(handle.page_index, handle.generation, order);
  if (released == RegionPages::Released::kStale) return Refuse(handle);
  if (released == RegionPages::Released::kFreed) {
    const FreePage page = FreedFrom(handle);
    Magazine* const magazine = magazines_.Mine();
    if (magazine == nullptr || pages->draining() || !magazine->Push(shape_, order, page)) {
      GiveBack(*pages, magazine, page, order);
    }
  }
  return absl::OkStatus();
}

ABSL_ATTRIBUTE_NOINLINE absl::Status PageArena::Refuse(PageHandle handle) const {
  return Explain(WhyNot(handle), handle);
}

void PageArena::GiveBack(RegionPages& pages, Magazine* magazine, FreePage page, int order) {
  if (pages.draining()) {
    {
      io::MutexLock lock(mutex_);
      store_.Give(page, order);
    }
    drained_.fetch_add(1, std::memory_order_release);
    registry_->environment()->Wake(drained_);
    return;
  }
  io::MutexLock lock(mutex_);
  store_.Give(page, order);
  if (magazine == nullptr) return;
  if (magazine->closed()) return Reopen(*magazine);
  // The magazine is full: half of it, so that the next call, whichever it is, finds room or pages.
  for (size_t i = 0; i < shape_.CapacityOf(order) / 2; ++i) {
    const std::optional<FreePage> another = magazine->PopLocked(shape_, order);
    if (!another.has_value()) break;
    store_.Give(*another, order);
  }
}

void PageArena::Empty(Magazine& magazine) {
  io::MutexLock lock(mutex_);
  TakeAllOf(magazine);
  magazine.Close();
}

// ---- Handles ----

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
  if (fork_guard_.forked()) return fork_guard_.Refusal("PageArena::Resolve");
  std::byte* const address = AddressOf(handle);
  if (ABSL_PREDICT_TRUE(address != nullptr)) return address;
  return Explain(WhyNot(handle), handle);
}

absl::Status PageArena::Validate(PageHandle handle) const {
  const std::optional<io::ValidationError> error = Check(handle);
  return error.has_value() ? Explain(*error, handle) : absl::OkStatus();
}

ArenaReport PageArena::Report() const {
  ArenaReport report{
      .page_bytes = options_.page_bytes, .page_count = page_count(), .free_count = free_count()};
  io::MutexLock lock(regions_mutex_);
  for (const Region& region : regions_) {
    RegionReport entry{.id = region.registration.id(),
                       .size_bytes = region.mapping->size_bytes(),
                       .mapping = region.mapping->report()};
    const auto info = registry_->InfoOf(entry.id);
    if (info.ok()) {
      entry.fixed = info->fixed;
      entry.fixed_errno = info->fixed_errno;
    }
    report.retired_count += PagesIn(entry.id.slot())->retired_pages();
    report.regions.push_back(std::move(entry));
  }
  return report;
}

}  // namespace fixpool::arena
