// How a PageArena grows and shrinks.

#include <sys/sysinfo.h>

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "fixpool/arena/format_bytes.h"
#include "fixpool/arena/page_arena.h"
#include "fixpool/arena/region_rounding.h"
#include "fixpool/io/memory_region.h"

namespace fixpool::arena {
namespace {

// The alignment that transfers of whole pages have anyway, up to what any device asks for.
constexpr uint32_t kTransferAlignment = 4096;

// How often owners are asked again, and magazines looked into, while a region drains.
constexpr absl::Duration kAskInterval = absl::Milliseconds(1);

absl::Status CheckCapacity(const io::FixedBufferRegistry& registry, size_t size_bytes,
                           size_t region_bytes) {
  const size_t wanted = size_bytes / region_bytes + (size_bytes % region_bytes != 0);
  const size_t used = registry.region_count();
  const size_t free = registry.capacity() > used ? registry.capacity() - used : 0;
  if (wanted <= free) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("PageArena: ", size_bytes, " bytes are ", wanted, " regions of ",
                   FormatBytes(region_bytes), ", but the registry has ", free, " free slots of ",
                   registry.capacity(), "; raise FixedBufferRegistry::Options::capacity (at most ",
                   io::FixedBufferRegistry::kMaxRegions, ") or region_bytes"));
}

// Memory is faulted in at once, so that the kernel would find out by ending a process.
absl::Status CheckMachine(size_t present_bytes, size_t size_bytes) {
  struct sysinfo machine;
  if (sysinfo(&machine) != 0) return absl::OkStatus();
  const size_t machine_bytes = size_t{machine.totalram} * machine.mem_unit;
  if (present_bytes <= machine_bytes && size_bytes <= machine_bytes - present_bytes) {
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(absl::StrCat(
      "PageArena: ", FormatBytes(size_bytes), " more than ", FormatBytes(present_bytes),
      ", but the machine has ", FormatBytes(machine_bytes), " in all"));
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

absl::Duration TimeUntil(io::Environment& environment, io::Deadline deadline) {
  if (deadline.is_infinite()) return absl::InfiniteDuration();
  return std::max(absl::ZeroDuration(),
                  absl::Nanoseconds(deadline.ns()) - absl::Nanoseconds(environment.NowNs()));
}

}  // namespace

// The right to change the set of regions; one thread has it at a time.
class PageArena::ResizeTurn {
 public:
  ResizeTurn(PageArena& arena, io::Deadline deadline) : arena_(arena) {
    io::Environment& environment = *arena.registry_->environment();
    while (true) {
      uint32_t nobody = 0;
      held_ = arena.resizing_.compare_exchange_strong(nobody, 1, std::memory_order_acquire);
      if (held_ || environment.Expired(deadline)) return;
      environment.Wait(arena.resizing_, 1, deadline);
    }
  }
  ~ResizeTurn() {
    if (!held_) return;
    arena_.resizing_.store(0, std::memory_order_release);
    arena_.registry_->environment()->Wake(arena_.resizing_);
  }
  ResizeTurn(const ResizeTurn&) = delete;
  ResizeTurn& operator=(const ResizeTurn&) = delete;

  bool held() const { return held_; }

 private:
  PageArena& arena_;
  bool held_ = false;
};

// ---- Growing ----

// At the addresses of a region that went, if one of that size did.
absl::StatusOr<std::shared_ptr<Mapping>> PageArena::MakeMapping(size_t size_bytes) {
  AddressRange reuse;
  {
    io::MutexLock lock(regions_mutex_);
    const auto found = std::find_if(retired_.begin(), retired_.end(), [&](const auto& range) {
      return range.size_bytes() == size_bytes;
    });
    if (found != retired_.end()) {
      reuse = std::move(*found);
      retired_.erase(found);
    }
  }
  auto mapping = Mapping::Create(size_bytes, {.ladder = options_.ladder,
                                              .dont_dump = options_.dont_dump,
                                              .prefault_threads = options_.prefault_threads,
                                              .reuse = &reuse,
                                              .numa = options_.numa});
  if (reuse.base() != nullptr) {
    io::MutexLock lock(regions_mutex_);
    retired_.push_back(std::move(reuse));
  }
  return mapping;
}

// Gives memory back that no ring knows, and keeps its addresses.
absl::Status PageArena::Retire(std::shared_ptr<Mapping> mapping) {
  // A registry that could not take it out of a ring keeps it; then it stays as it is.
  if (mapping.use_count() > 1) return absl::InternalError("PageArena: the memory is still in use");
  absl::StatusOr<AddressRange> range = Mapping::Retire(mapping);
  io::MutexLock lock(regions_mutex_);
  if (range.ok()) {
    retired_.push_back(*std::move(range));
  } else {
    kept_.push_back(std::move(mapping));
  }
  return range.status();
}

absl::StatusOr<PageArena::Region> PageArena::MakeRegion(size_t size_bytes) {
  Region made;
  absl::StatusOr<std::shared_ptr<Mapping>> mapping = MakeMapping(size_bytes);
  if (!mapping.ok()) return mapping.status();
  made.mapping = *std::move(mapping);
  const absl::StatusOr<io::MemoryRegion> region =
      io::MemoryRegion::Create(made.mapping->base(), size_bytes);
  if (!region.ok()) return region.status();
  absl::StatusOr<io::Registration> registration = registry_->Register(
      *region,
      {.backing = made.mapping, .alignment_bytes = kTransferAlignment, .fixed = options_.fixed});
  if (!registration.ok()) {
    (void)Retire(std::move(made.mapping));
    return registration.status();
  }
  made.registration = *std::move(registration);
  return made;
}

// Of a region that was never published: nothing can be in flight on it.
void PageArena::Unmake(Region region) {
  if (region.registration.Release(absl::InfiniteDuration()).ok()) {
    (void)Retire(std::move(region.mapping));
  }
}

void PageArena::Publish(Region region) {
  const io::RegionId id = region.registration.id();
  const auto memory =
      io::MemoryRegion::Create(region.mapping->base(), region.mapping->size_bytes());
  io::MutexLock regions_lock(regions_mutex_);
  RegionPages* const pages = PagesIn(id.slot());
  if (!pages->prepared()) {
    pages->Prepare(options_.page_bytes,
                   static_cast<uint32_t>(options_.region_bytes / options_.page_bytes));
  }
  pages->Open(*memory, id);
  io::MutexLock lock(mutex_);
  store_.Add(id.slot(), pages->page_count());
  page_count_.fetch_add(pages->page_count(), std::memory_order_relaxed);
  regions_.push_back(std::move(region));
}

absl::Status PageArena::Grow(size_t bytes) {
  if (fork_guard_.forked()) return fork_guard_.Refusal("PageArena::Grow");
  if (bytes == 0) return absl::InvalidArgumentError("PageArena: size_bytes is 0");
  const size_t region_bytes = options_.region_bytes;
  const size_t size_bytes = RoundUpToPages(bytes, region_bytes, options_.page_bytes);
  const ResizeTurn turn(*this, io::Deadline::Infinite());
  if (absl::Status status = CheckCapacity(*registry_, size_bytes, region_bytes); !status.ok()) {
    return status;
  }
  if (absl::Status status = CheckMachine(page_count() * options_.page_bytes, size_bytes);
      !status.ok()) {
    return status;
  }
  std::vector<Region> made;
  for (size_t left = size_bytes; left > 0;) {
    const size_t next_bytes = std::min(left, region_bytes);
    absl::StatusOr<Region> region = MakeRegion(next_bytes);
    if (!region.ok()) {
      const size_t index = made.size();
      for (Region& earlier : made) Unmake(std::move(earlier));
      return InRegion(index, region.status());
    }
    made.push_back(*std::move(region));
    left -= next_bytes;
  }
  for (Region& region : made) Publish(std::move(region));
  return absl::OkStatus();
}

// ---- Shrinking ----

absl::StatusOr<size_t> PageArena::Shrink(size_t bytes, io::Deadline deadline) {
  if (fork_guard_.forked()) return fork_guard_.Refusal("PageArena::Shrink");
  const ResizeTurn turn(*this, deadline);
  if (!turn.held()) {
    return absl::FailedPreconditionError("PageArena: another thread grows or shrinks this arena");
  }
  const std::vector<io::RegionId> victims = ChooseVictims(bytes);
  if (victims.empty()) {
    io::MutexLock lock(regions_mutex_);
    return absl::InvalidArgumentError(absl::StrCat(
        "PageArena: cannot shrink by ", FormatBytes(bytes), ": memory goes back in whole regions (",
        regions_.size(), " of up to ", FormatBytes(options_.region_bytes),
        "), and the last one stays; see Options::region_bytes"));
  }
  Suspend(victims);
  if (WaitUntilEmpty(victims, deadline) == Draining::kDeadline) {
    const size_t held = PagesOutOf(victims);
    for (const io::RegionId victim : victims) Resume(victim);
    return absl::DeadlineExceededError(absl::StrCat(
        "PageArena: ", held, " pages of the ", victims.size(),
        " regions that were to go are still allocated; all of them are in service again"));
  }
  size_t given_bytes = 0;
  absl::Status first_error;
  for (const io::RegionId victim : victims) {
    const absl::StatusOr<size_t> size_bytes = TakeOut(victim, deadline);
    if (size_bytes.ok()) given_bytes += *size_bytes;
    first_error.Update(size_bytes.status());
  }
  if (given_bytes == 0) return first_error;
  return given_bytes;
}

std::vector<io::RegionId> PageArena::ChooseVictims(size_t bytes) const {
  struct Candidate {
    io::RegionId id;
    size_t size_bytes;
    uint32_t used_pages;
  };
  std::vector<Candidate> candidates;
  {
    io::MutexLock regions_lock(regions_mutex_);
    io::MutexLock lock(mutex_);
    for (const Region& region : regions_) {
      const io::RegionId id = region.registration.id();
      candidates.push_back(
          {.id = id,
           .size_bytes = region.mapping->size_bytes(),
           .used_pages = PagesIn(id.slot())->page_count() - store_.FreePagesOf(id.slot())});
    }
  }
  // Among equals the highest, because the lowest are filled first.
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) {
                     return a.used_pages != b.used_pages ? a.used_pages < b.used_pages
                                                         : a.id.slot() > b.id.slot();
                   });
  std::vector<io::RegionId> victims;
  for (const Candidate& candidate : candidates) {
    if (candidate.size_bytes > bytes || victims.size() + 1 == candidates.size()) continue;
    bytes -= candidate.size_bytes;
    victims.push_back(candidate.id);
  }
  return victims;
}

void PageArena::Suspend(absl::Span<const io::RegionId> victims) {
  io::MutexLock lock(mutex_);
  for (const io::RegionId victim : victims) {
    PagesIn(victim.slot())->set_draining(true);
    store_.Suspend(victim.slot());
  }
}

void PageArena::Resume(io::RegionId victim) {
  io::MutexLock lock(mutex_);
  PagesIn(victim.slot())->set_draining(false);
  store_.Resume(victim.slot());
}

// Pages that are allocated, after taking from the threads those that are not.
size_t PageArena::PagesOutOf(absl::Span<const io::RegionId> victims) {
  io::MutexLock lock(mutex_);
  magazines_.Recall(shape_, nullptr, [&](FreePage page, int order) {
    mutex_.AssertHeld();
    store_.Give(page, order);
  });
  size_t out = 0;
  for (const io::RegionId victim : victims) {
    const RegionPages& pages = *PagesIn(victim.slot());
    out += pages.page_count() - store_.FreePagesOf(victim.slot()) - pages.retired_pages();
  }
  return out;
}

PageArena::Draining PageArena::WaitUntilEmpty(absl::Span<const io::RegionId> victims,
                                              io::Deadline deadline) {
  io::Environment& environment = *registry_->environment();
  while (true) {
    const uint32_t seen = drained_.load(std::memory_order_acquire);
    if (PagesOutOf(victims) == 0) return Draining::kEmpty;
    AskOwners(victims, deadline);
    if (PagesOutOf(victims) == 0) return Draining::kEmpty;
    if (environment.Expired(deadline)) return Draining::kDeadline;
    environment.Wait(drained_, seen, std::min(deadline, environment.DeadlineAfter(kAskInterval)));
  }
}

void PageArena::AskOwners(absl::Span<const io::RegionId> victims, io::Deadline deadline) {
  io::MutexLock lock(owners_mutex_);
  for (PageOwner* const owner : owners_) {
    for (const io::RegionId victim : victims) owner->GiveUpPages(victim, deadline);
  }
}

// An empty region leaves the registry, and its memory goes. If transfers are in flight until the
// deadline, against the rules of Free, it is back in service.
absl::StatusOr<size_t> PageArena::TakeOut(io::RegionId victim, io::Deadline deadline) {
  Region region;
  {
    io::MutexLock lock(regions_mutex_);
    const auto found = std::find_if(regions_.begin(), regions_.end(), [&](const Region& candidate) {
      return candidate.registration.id() == victim;
    });
    region = std::move(*found);
    regions_.erase(found);
  }
  RegionPages& pages = *PagesIn(victim.slot());
  // Before Release: handles are checked here and not in the registry.
  pages.Close();
  const absl::Status status =
      region.registration.Release(TimeUntil(*registry_->environment(), deadline));
  if (absl::IsDeadlineExceeded(status)) {
    pages.Reopen(victim);
    Resume(victim);
    io::MutexLock lock(regions_mutex_);
    regions_.push_back(std::move(region));
    return status;
  }
  {
    io::MutexLock lock(mutex_);
    store_.Remove(victim.slot());
  }
  page_count_.fetch_sub(pages.page_count(), std::memory_order_relaxed);
  // Else the registry keeps the memory for ever, because a ring would not let go of it.
  if (!status.ok()) return status;
  const size_t size_bytes = region.mapping->size_bytes();
  if (absl::Status retired = Retire(std::move(region.mapping)); !retired.ok()) return retired;
  return size_bytes;
}

void PageArena::AddOwner(PageOwner* owner) {
  io::MutexLock lock(owners_mutex_);
  owners_.push_back(owner);
}

void PageArena::RemoveOwner(PageOwner* owner) {
  io::MutexLock lock(owners_mutex_);
  std::erase(owners_, owner);
}

}  // namespace fixpool::arena
