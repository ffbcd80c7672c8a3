#include "fixpool/io/fixed_buffer_registry.h"

#include <algorithm>
#include <cerrno>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "fixpool/io/check.h"
#include "fixpool/io/sanitizer.h"

namespace fixpool::io {
namespace {

// How long one look at the rings may block while a region drains. Short, because the admin
// lock is held meanwhile; the kernel's answer ends it early.
constexpr absl::Duration kProgressStep = absl::Milliseconds(1);

// Both counters serve the process: no id is ever issued twice, whichever registry asks.
// 0 and 0xffff are no owners; after 65534 registries the numbers come round again, and the
// generation alone tells their ids apart.
uint16_t NextOwner() {
  static std::atomic<uint32_t> next{0};
  return static_cast<uint16_t>(1 + next.fetch_add(1, std::memory_order_relaxed) % 0xfffe);
}

// 0 when all 2^32 - 2 are used up. The last one is kept back: with it an id could equal
// kUnregistered.
uint32_t NextGeneration() {
  static std::atomic<uint64_t> next{1};
  const uint64_t generation = next.fetch_add(1, std::memory_order_relaxed);
  return generation < std::numeric_limits<uint32_t>::max() ? static_cast<uint32_t>(generation) : 0;
}

}  // namespace

Registration::Registration(Registration&& other) noexcept
    : registry_(std::exchange(other.registry_, nullptr)), id_(other.id_) {}

Registration& Registration::operator=(Registration&& other) noexcept {
  std::swap(registry_, other.registry_);
  std::swap(id_, other.id_);
  return *this;
}

Registration::~Registration() {
  if (registry_ == nullptr || registry_->fork_guard_.forked()) return;
  FixedBufferRegistry* const registry = registry_;
  const absl::Status status = Release(registry->options_.release_timeout);
  if (status.ok()) return;
  if (registry_ != nullptr) {
    registry->Leak(id_, status);
  } else {  // leaked by Release, which has nobody to tell but us
    registry->environment()->Report(Severity::kError, status.message());
  }
}

absl::Status Registration::Release(absl::Duration timeout) {
  if (registry_ == nullptr) {
    return absl::FailedPreconditionError("Release: this Registration holds no region");
  }
  if (registry_->fork_guard_.forked()) return registry_->fork_guard_.Refusal("Release");
  absl::Status status = registry_->Unregister(id_, timeout);
  // Whatever else came back, the region is out of this object's hands: gone, or leaked.
  if (!absl::IsDeadlineExceeded(status)) registry_ = nullptr;
  return status;
}

absl::StatusOr<std::unique_ptr<FixedBufferRegistry>> FixedBufferRegistry::Create(Options options) {
  if (options.capacity == 0 || options.capacity > kMaxRegions) {
    return absl::InvalidArgumentError(
        absl::StrCat("FixedBufferRegistry: capacity ", options.capacity, " is not in 1..",
                     kMaxRegions, ", the slots that the kernel gives a ring"));
  }
  if (options.environment == nullptr) {
    return absl::InvalidArgumentError("FixedBufferRegistry: the environment is null");
  }
  return std::unique_ptr<FixedBufferRegistry>(
      new FixedBufferRegistry(std::move(options), NextOwner()));
}

FixedBufferRegistry::FixedBufferRegistry(Options options, uint16_t owner)
    : options_(std::move(options)),
      owner_(owner),
      slots_(std::make_unique<Slot[]>(options_.capacity)) {}

FixedBufferRegistry::~FixedBufferRegistry() {
  if (fork_guard_.forked()) {
    // Another thread may have been at work on these, and the backings' own ends may not be
    // meant for this process: not a byte of it is touched.
    sanitizer::LeakedOnPurpose(new std::vector<BufferTable*>(std::move(tables_)));
    sanitizer::LeakedOnPurpose(new std::vector<Keeping>(std::move(keeping_)));
    sanitizer::LeakedOnPurpose(new std::vector<uint16_t>(std::move(free_slots_)));
    return;
  }
  MutexLock lock(mutex_);
  FIXPOOL_CHECK(tables_.empty(), "a FixedBufferRegistry died before an engine attached to it");
  FIXPOOL_CHECK(region_count_ == 0,
                absl::StrCat("a FixedBufferRegistry died with ", region_count_,
                             " regions registered; destroy their Registrations first"));
}

uint32_t FixedBufferRegistry::region_count() const {
  if (fork_guard_.forked()) return 0;
  MutexLock lock(mutex_);
  return region_count_;
}

absl::StatusOr<uint16_t> FixedBufferRegistry::ReserveSlot() {
  if (!free_slots_.empty()) {
    const uint16_t slot = free_slots_.back();
    free_slots_.pop_back();
    return slot;
  }
  if (keeping_.size() == options_.capacity) {
    return absl::ResourceExhaustedError(
        absl::StrCat("Register: all ", options_.capacity, " slots are taken; ",
                     options_.capacity < kMaxRegions
                         ? "raise FixedBufferRegistry::Options::capacity"
                         : "the kernel gives a ring no more: use fewer, larger regions"));
  }
  keeping_.emplace_back();
  return static_cast<uint16_t>(keeping_.size() - 1);
}

absl::Status FixedBufferRegistry::SetInAllTables(uint16_t slot, const MemoryRegion& region,
                                                 absl::Status& undone) {
  int source = -1;  // the descriptor of a ring that has the region already
  for (size_t i = 0; i < tables_.size(); ++i) {
    // To the end of the table, where both hold the same: a kernel may forget what the taking
    // ring has behind the shared range.
    const auto to_end = static_cast<uint32_t>(keeping_.size() - slot);
    absl::Status status = source >= 0 ? tables_[i]->Share(source, slot, to_end)
                                      : absl::UnimplementedError("nobody to share with");
    // An older kernel cannot share; what else may be wrong, registering will tell.
    if (!status.ok()) status = tables_[i]->Set(slot, region);
    if (source < 0) source = tables_[i]->sharing_descriptor();
    if (status.ok()) continue;
    while (i-- > 0) undone.Update(tables_[i]->Clear(slot));
    return status;
  }
  return absl::OkStatus();
}

absl::Status FixedBufferRegistry::ClearInAllTables(uint16_t slot) {
  absl::Status first;
  for (BufferTable* table : tables_) first.Update(table->Clear(slot));
  return first;
}

absl::StatusOr<Registration> FixedBufferRegistry::Register(const MemoryRegion& region,
                                                           RegisterOptions options) {
  if (fork_guard_.forked()) return fork_guard_.Refusal("Register");
  const uint32_t alignment = options.alignment_bytes;
  if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("Register: an alignment of ", alignment, " bytes is not a power of two"));
  }
  if (((reinterpret_cast<uintptr_t>(region.base()) | region.size_bytes()) & (alignment - 1)) != 0) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "Register: base %p or size %u is not a multiple of the alignment, %u bytes; align the "
        "memory or say a smaller alignment_bytes",
        region.base(), region.size_bytes(), alignment));
  }
  const uint32_t generation = NextGeneration();
  if (generation == 0) {
    return absl::ResourceExhaustedError(
        "Register: this process has used up all 2^32 region generations");
  }
  absl::Status set;
  absl::Status undone;
  absl::StatusOr<Registration> registration;
  {
    MutexLock lock(mutex_);
    registration = RegisterLocked(region, std::move(options), generation, set, undone);
  }
  if (!undone.ok()) {
    options_.environment->Report(
        Severity::kError,
        absl::StrCat("Register: a slot is never used again, because a ring would not undo it: ",
                     undone.message()));
  } else if (registration.ok() && !set.ok()) {
    options_.environment->Report(
        Severity::kWarning, absl::StrCat(set.message(), "; this region's transfers go the plain way"));
  }
  return registration;
}

absl::StatusOr<Registration> FixedBufferRegistry::RegisterLocked(const MemoryRegion& region,
                                                                 RegisterOptions options,
                                                                 uint32_t generation,
                                                                 absl::Status& set,
                                                                 absl::Status& undone) {
  absl::StatusOr<uint16_t> reserved = ReserveSlot();
  if (!reserved.ok()) return reserved.status();
  const uint16_t index = *reserved;
  set = SetInAllTables(index, region, undone);
  const bool go_plain = ErrnoOf(set) == ENOMEM && options.fixed == FixedPolicy::kPrefer;
  if (!undone.ok()) return set;
  if (!set.ok() && !go_plain) {
    free_slots_.push_back(index);
    return set;
  }
  keeping_[index] = {.backing = std::move(options.backing), .fixed_errno = ErrnoOf(set)};
  ++region_count_;
  Slot& slot = slots_[index];
  slot.base.store(reinterpret_cast<uintptr_t>(region.base()), std::memory_order_relaxed);
  slot.size_bytes.store(region.size_bytes(), std::memory_order_relaxed);
  slot.alignment_bytes.store(options.alignment_bytes, std::memory_order_relaxed);
  slot.fixed.store(set.ok(), std::memory_order_relaxed);
  // A lease that was refused may still be counted for a moment: keep the count.
  uint64_t state = slot.state.load(std::memory_order_relaxed);
  while (!slot.state.compare_exchange_weak(state, InService(generation) | (state & kLeaseMask),
                                           std::memory_order_release, std::memory_order_relaxed)) {
  }
  return Registration(this, RegionId::FromParts(index, owner_, generation));
}

absl::StatusOr<std::vector<Registration>> FixedBufferRegistry::RegisterAll(
    const std::vector<MemoryRegion>& regions, RegisterOptions options) {
  if (fork_guard_.forked()) return fork_guard_.Refusal("RegisterAll");
  std::vector<Registration> registrations;
  registrations.reserve(regions.size());
  for (const MemoryRegion& region : regions) {
    absl::StatusOr<Registration> registration = Register(region, options);
    if (!registration.ok()) {
      return absl::Status(registration.status());  // those before it release themselves
    }
    registrations.push_back(std::move(*registration));
  }
  return registrations;
}

bool FixedBufferRegistry::WaitForLeases(Slot& slot, Deadline deadline) {
  Environment* const environment = options_.environment;
  while (true) {
    const uint32_t seen = released_.load(std::memory_order_acquire);
    if ((slot.state.load(std::memory_order_acquire) & kLeaseMask) == 0) return true;
    // What is complete but not reaped holds its lease: take it in, here if need be.
    const Deadline step = std::min(deadline, environment->DeadlineAfter(kProgressStep));
    {
      MutexLock lock(mutex_);
      for (BufferTable* table : tables_) table->MakeProgress(step);
    }
    if ((slot.state.load(std::memory_order_acquire) & kLeaseMask) == 0) return true;
    if (environment->Expired(deadline)) return false;
    environment->Wait(released_, seen, std::min(deadline, environment->DeadlineAfter(kProgressStep)));
  }
}

absl::Status FixedBufferRegistry::Unregister(RegionId id, absl::Duration timeout) {
  Slot& slot = slots_[id.slot()];
  // One Registration exists for this id, and it is not thread-safe: nobody else is closing.
  slot.state.fetch_or(kClosing, std::memory_order_acq_rel);
  if (!WaitForLeases(slot, options_.environment->DeadlineAfter(timeout))) {
    const uint64_t state = slot.state.fetch_and(~kClosing, std::memory_order_acq_rel);
    return absl::DeadlineExceededError(
        absl::StrCat("Release of ", id.ToString(), ": ", state & kLeaseMask,
                     " transfers still in flight after ", absl::FormatDuration(timeout),
                     "; the region is in service again"));
  }
  std::shared_ptr<const void> backing;  // dropped after the lock: it may unmap much memory
  {
    MutexLock lock(mutex_);
    const absl::Status cleared = slot.fixed.load(std::memory_order_relaxed)
                                     ? ClearInAllTables(id.slot())
                                     : absl::OkStatus();
    --region_count_;
    if (!cleared.ok()) {
      KeepForEver(id.slot());  // kClosing stays: the slot is never used again
      return absl::InternalError(absl::StrCat("Release of ", id.ToString(),
                                              ": a ring would not give the buffer up, so its "
                                              "memory is never given back: ",
                                              cleared.message()));
    }
    slot.state.fetch_and(~(kLive | kClosing), std::memory_order_acq_rel);
    backing = std::move(keeping_[id.slot()].backing);
    keeping_[id.slot()] = {};
    free_slots_.push_back(id.slot());
  }
  return absl::OkStatus();
}

void FixedBufferRegistry::KeepForEver(uint16_t slot) {
  // An owner without a backing may unmap the memory now: no ring may be given it again.
  slots_[slot].fixed.store(false, std::memory_order_relaxed);
  // Beyond the registry's own life: the kernel may write to this memory at any time.
  sanitizer::LeakedOnPurpose(new std::shared_ptr<const void>(std::move(keeping_[slot].backing)));
}

void FixedBufferRegistry::Leak(RegionId id, const absl::Status& why) {
  slots_[id.slot()].state.fetch_or(kClosing, std::memory_order_acq_rel);
  {
    MutexLock lock(mutex_);
    --region_count_;
    KeepForEver(id.slot());
  }
  options_.environment->Report(
      Severity::kError,
      absl::StrCat(id.ToString(), " is leaked on purpose, with its memory: ", why.message()));
}

std::optional<ValidationError> FixedBufferRegistry::CheckSlow(RegionId id) const {
  if (id.is_unregistered() || id.generation() == 0) return ValidationError::kUnknownRegion;
  if (id.owner() != owner_) return ValidationError::kForeignRegistry;
  if (id.slot() >= options_.capacity) return ValidationError::kUnknownRegion;
  const uint64_t state = slots_[id.slot()].state.load(std::memory_order_acquire);
  const uint32_t generation = static_cast<uint32_t>(state >> 32);
  if (generation == 0 || id.generation() > generation) return ValidationError::kUnknownRegion;
  if (id.generation() == generation && (state & kLive) != 0 && (state & kClosing) == 0) {
    return std::nullopt;
  }
  return ValidationError::kStaleGeneration;
}

absl::Status FixedBufferRegistry::Validate(RegionId id, const void* data,
                                           size_t length_bytes) const {
  const std::optional<ValidationError> error = Check(id, data, length_bytes);
  return error.has_value() ? Explain(*error, id, data, length_bytes) : absl::OkStatus();
}

absl::Status FixedBufferRegistry::Explain(ValidationError error, RegionId id, const void* data,
                                          size_t length_bytes) const {
  std::string message = absl::StrFormat("%u bytes at %p in %s: ", length_bytes, data, id.ToString());
  const Slot* slot = id.slot() < options_.capacity ? &slots_[id.slot()] : nullptr;
  switch (error) {
    case ValidationError::kUnknownRegion:
      absl::StrAppend(&message, "no such region was ever registered here");
      break;
    case ValidationError::kStaleGeneration:
      absl::StrAppend(&message, "that region was, or is being, unregistered; ids do not come back");
      break;
    case ValidationError::kForeignRegistry:
      absl::StrAppend(&message, "that id is of another registry; this one is ", owner_);
      break;
    case ValidationError::kOutOfRegion:
      absl::StrAppendFormat(&message, "the region is %u bytes at %p", slot->size_bytes.load(),
                            reinterpret_cast<void*>(slot->base.load()));
      break;
    case ValidationError::kMisaligned:
      absl::StrAppend(&message, "address and length must be multiples of ",
                      slot->alignment_bytes.load(), " bytes");
      break;
  }
  return ValidationStatus(error, message);
}

absl::StatusOr<FixedBufferRegistry::RegionInfo> FixedBufferRegistry::InfoOf(RegionId id) const {
  if (fork_guard_.forked()) return fork_guard_.Refusal("InfoOf");
  MutexLock lock(mutex_);
  if (const std::optional<ValidationError> error =
          id.owner() == owner_ && IsCurrent(id) ? std::nullopt : CheckSlow(id)) {
    return Explain(*error, id, nullptr, 0);
  }
  const Slot& slot = slots_[id.slot()];
  return RegionInfo{
      .region = *MemoryRegion::Create(reinterpret_cast<void*>(slot.base.load()), slot.size_bytes.load()),
      .alignment_bytes = slot.alignment_bytes.load(),
      .fixed = slot.fixed.load(),
      .fixed_errno = keeping_[id.slot()].fixed_errno,
      .in_flight = static_cast<uint32_t>(slot.state.load() & kLeaseMask)};
}

bool FixedBufferRegistry::InKernelTables(uint16_t slot) const {
  return (slots_[slot].state.load(std::memory_order_acquire) & kLive) != 0 &&
         slots_[slot].fixed.load(std::memory_order_relaxed);
}

absl::Status FixedBufferRegistry::ClearTable(BufferTable* table, size_t slot_count) {
  absl::Status first;
  for (size_t i = 0; i < slot_count; ++i) {
    if (InKernelTables(static_cast<uint16_t>(i))) first.Update(table->Clear(static_cast<uint16_t>(i)));
  }
  return first;
}

int FixedBufferRegistry::SharingDescriptor() const {
  for (const BufferTable* table : tables_) {
    if (table->sharing_descriptor() >= 0) return table->sharing_descriptor();
  }
  return -1;
}

absl::Status FixedBufferRegistry::Attach(BufferTable* table) {
  if (fork_guard_.forked()) return fork_guard_.Refusal("Attach");
  MutexLock lock(mutex_);
  const int source = SharingDescriptor();
  const uint32_t slot_count = static_cast<uint32_t>(keeping_.size());
  if (source >= 0 && slot_count > 0 && table->Share(source, 0, slot_count).ok()) {
    tables_.push_back(table);
    return absl::OkStatus();
  }
  for (size_t i = 0; i < keeping_.size(); ++i) {
    if (!InKernelTables(static_cast<uint16_t>(i))) continue;
    const Slot& slot = slots_[i];
    const MemoryRegion region = *MemoryRegion::Create(
        reinterpret_cast<void*>(slot.base.load()), slot.size_bytes.load());
    absl::Status set = table->Set(static_cast<uint16_t>(i), region);
    if (set.ok()) continue;
    // Should undoing fail as well, the engine's ring goes away whole: nothing was in flight.
    set.Update(ClearTable(table, i));
    return set;
  }
  tables_.push_back(table);
  return absl::OkStatus();
}

void FixedBufferRegistry::Abandon(BufferTable* table) {
  if (fork_guard_.forked()) return;
  MutexLock lock(mutex_);
  tables_.erase(std::remove(tables_.begin(), tables_.end(), table), tables_.end());
}

absl::Status FixedBufferRegistry::Detach(BufferTable* table) {
  if (fork_guard_.forked()) return fork_guard_.Refusal("Detach");
  Abandon(table);
  MutexLock lock(mutex_);
  absl::Status first;
  for (size_t i = 0; i < keeping_.size(); ++i) {
    const uint16_t slot = static_cast<uint16_t>(i);
    if (!InKernelTables(slot)) continue;
    const absl::Status cleared = table->Clear(slot);
    if (cleared.ok()) continue;
    // The region stays in service for the other rings; its memory stays whatever they do.
    sanitizer::LeakedOnPurpose(new std::shared_ptr<const void>(keeping_[i].backing));
    first.Update(absl::InternalError(absl::StrCat(
        "Detach: a ring would not give buffer ", slot,
        " up, so its memory is never given back: ", cleared.message())));
  }
  return first;
}

}  // namespace fixpool::io
