#include "tests/io/registry_history.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "fixpool/io/memory_region.h"

namespace fixpool::tests {
namespace {

using io::FixedBufferRegistry;
using io::RegionId;
using io::ValidationError;

constexpr uint32_t kCapacity = 8;
constexpr uint32_t kMostLeases = 16;
// Nobody looks at the memory, so it need not be there.
constexpr uintptr_t kBase = 0x10'0000'0000;
constexpr size_t kUnit = 4096;

const void* At(uintptr_t address) { return reinterpret_cast<const void*>(address); }
io::MemoryRegion RegionAt(uintptr_t base, size_t size_bytes) {
  return *io::MemoryRegion::Create(reinterpret_cast<void*>(base), size_bytes);
}
std::unique_ptr<FixedBufferRegistry> MakeRegistry() {
  return *FixedBufferRegistry::Create({.capacity = kCapacity});
}

}  // namespace

RegistryHistory::RegistryHistory() : registry_(MakeRegistry()), other_(MakeRegistry()) {
  io::Registration probe = *registry_->Register(RegionAt(kBase, kUnit));
  owner_ = probe.id().owner();
  newest_generation_[probe.id().slot()] = probe.id().generation();
  for (int i = 0; i < 4; ++i) foreign_.push_back(*other_->Register(RegionAt(kBase, 16 * kUnit)));
  // The first two can share what is registered, the third is of an older kernel.
  for (int i = 0; i < 2; ++i) tables_[i].ShareAmong(peers_, 100 + i);
}

RegistryHistory::~RegistryHistory() {
  leases_.clear();
  for (FakeBufferTable& table : tables_) table.RefuseWith(0);
  live_.clear();
  for (size_t i = 0; i < tables_.size(); ++i) {
    if (attached_[i]) registry_->Abandon(&tables_[i]);
  }
}

std::string RegistryHistory::Run(Choices& choices) {
  while (!choices.exhausted() && disagreement_.empty()) Step(choices);
  return disagreement_;
}

void RegistryHistory::Expect(bool condition, const std::string& what) {
  if (!condition && disagreement_.empty()) disagreement_ = what;
}

void RegistryHistory::Step(Choices& choices) {
  switch (choices.Below(16)) {
    case 0:
      Register(choices);
      break;
    case 1:
      RegisterSeveral(choices);
      break;
    case 2:
    case 3:
      Release(choices);
      break;
    case 4:
      AttachOrDetach(choices);
      break;
    case 5:
    case 6:
      EndLease(choices);
      break;
    default:
      CheckAnswers(choices);
      return;  // changes nothing but leases
  }
  CheckInvariants();
}

void RegistryHistory::Register(Choices& choices) {
  const uint32_t alignment = 1u << choices.Below(13);
  const uintptr_t base = kBase + choices.Below(64) * kUnit;
  const size_t size_bytes = (1 + choices.Below(16)) * kUnit;
  const bool require = choices.Below(2) == 0;
  const int error_number = std::array{0, 0, 0, ENOMEM, EFAULT}[choices.Below(5)];
  const size_t refusing = choices.Below(tables_.size());
  tables_[refusing].RefuseWith(error_number);
  auto registration = registry_->Register(
      RegionAt(base, size_bytes),
      {.alignment_bytes = alignment,
       .fixed = require ? FixedBufferRegistry::FixedPolicy::kRequire
                        : FixedBufferRegistry::FixedPolicy::kPrefer});
  const bool refused = error_number != 0 && tables_[refusing].refused() > 0;
  tables_[refusing].RefuseWith(0);

  if (live_.size() == kCapacity) {
    Expect(absl::IsResourceExhausted(registration.status()), "a ninth region of eight");
  } else if (refused && (require || error_number != ENOMEM)) {
    Expect(io::ErrnoOf(registration.status()) == error_number,
           absl::StrCat("a ring refused, but: ", registration.status().ToString()));
  } else {
    Expect(registration.ok(), absl::StrCat("Register: ", registration.status().ToString()));
  }
  if (registration.ok()) {
    Add(*std::move(registration), base, size_bytes, alignment, /*fixed=*/!refused);
  }
}

void RegistryHistory::RegisterSeveral(Choices& choices) {
  std::vector<io::MemoryRegion> regions;
  const uint32_t count = 1 + choices.Below(4);
  for (uint32_t i = 0; i < count; ++i) {
    regions.push_back(RegionAt(kBase + choices.Below(64) * kUnit, kUnit));
  }
  auto registrations = registry_->RegisterAll(regions, {});
  const bool fits = live_.size() + count <= kCapacity;
  Expect(registrations.ok() == fits,
         absl::StrCat("RegisterAll: ", registrations.status().ToString()));
  for (uint32_t i = 0; registrations.ok() && i < count; ++i) {
    Add(std::move((*registrations)[i]), reinterpret_cast<uintptr_t>(regions[i].base()), kUnit, 512,
        /*fixed=*/true);
  }
  // What was undone has used up generations of each free slot. Fill them, to know where they
  // are; besides, all of them must be free again.
  while (!registrations.ok() && live_.size() < kCapacity && disagreement_.empty()) {
    auto registration = registry_->Register(RegionAt(kBase, kUnit));
    Expect(registration.ok(), absl::StrCat("after RegisterAll: ", registration.status().ToString()));
    if (registration.ok()) Add(*std::move(registration), kBase, kUnit, 512, /*fixed=*/true);
  }
}

void RegistryHistory::Add(io::Registration registration, uintptr_t base, size_t size_bytes,
                          uint32_t alignment_bytes, bool fixed) {
  const RegionId id = registration.id();
  Expect(std::find(issued_.begin(), issued_.end(), id) == issued_.end(),
         absl::StrCat(id.ToString(), " was issued twice"));
  Expect(FindLive(id) == nullptr && id.owner() == owner_ && id.slot() < kCapacity,
         absl::StrCat(id.ToString(), " makes no sense"));
  issued_.push_back(id);
  newest_generation_[id.slot()] = id.generation();
  live_.push_back({.registration = std::move(registration),
                   .base = base,
                   .size_bytes = size_bytes,
                   .alignment_bytes = alignment_bytes,
                   .fixed = fixed});
}

void RegistryHistory::Release(Choices& choices) {
  if (live_.empty()) return;
  const size_t victim = choices.Below(static_cast<uint32_t>(live_.size()));
  Live& region = live_[victim];
  const RegionId id = region.registration.id();
  const absl::Status status = region.registration.Release(absl::ZeroDuration());
  if (region.leases > 0) {
    Expect(absl::IsDeadlineExceeded(status),
           absl::StrCat("released under a lease: ", status.ToString()));
    Expect(registry_->IsCurrent(id), "a Release that gave up did not restore service");
    return;
  }
  Expect(status.ok(), absl::StrCat("Release: ", status.ToString()));
  Expect(!region.registration.holds_region(), "a released Registration holds a region");
  std::swap(region, live_.back());
  live_.pop_back();
}

void RegistryHistory::AttachOrDetach(Choices& choices) {
  const size_t index = choices.Below(tables_.size());
  FakeBufferTable& table = tables_[index];
  if (attached_[index]) {
    const absl::Status status = registry_->Detach(&table);
    Expect(status.ok(), absl::StrCat("Detach: ", status.ToString()));
    attached_[index] = false;
  } else {
    const int error_number = choices.Below(4) == 0 ? EFAULT : 0;
    table.RefuseWith(error_number, choices.Below(4));
    const absl::Status status = registry_->Attach(&table);
    const bool refused = error_number != 0 && table.refused() > 0;
    table.RefuseWith(0);
    Expect(status.ok() == !refused, absl::StrCat("Attach: ", status.ToString()));
    attached_[index] = status.ok();
  }
  if (!attached_[index]) Expect(table.regions().empty(), "a ring was left with regions");
}

void RegistryHistory::EndLease(Choices& choices) {
  if (leases_.empty()) return;
  const size_t victim = choices.Below(static_cast<uint32_t>(leases_.size()));
  Live* const region = FindLive(leases_[victim].id);
  Expect(region != nullptr, "a region went under a lease");
  if (region != nullptr) --region->leases;
  std::swap(leases_[victim], leases_.back());
  leases_.pop_back();
}

RegionId RegistryHistory::ChooseId(Choices& choices) {
  switch (choices.Below(6)) {
    case 0:
      return RegionId::FromBits(choices.Word());
    case 1: {
      const uint16_t slot = static_cast<uint16_t>(choices.Below(2 * kCapacity));
      return RegionId::FromParts(slot, owner_, newest_generation_[slot] + choices.Below(5) - 2);
    }
    case 2:
      return foreign_[choices.Below(static_cast<uint32_t>(foreign_.size()))].id();
    case 3:
      if (issued_.empty()) return RegionId();
      return issued_[choices.Word() % issued_.size()];
    case 4:
      return choices.Below(2) == 0 ? RegionId::kUnregistered : RegionId();
    default:
      if (live_.empty()) return RegionId();
      return live_[choices.Below(static_cast<uint32_t>(live_.size()))].registration.id();
  }
}

RegistryHistory::Live* RegistryHistory::FindLive(RegionId id) {
  for (Live& region : live_) {
    if (region.registration.id() == id) return &region;
  }
  return nullptr;
}

std::optional<ValidationError> RegistryHistory::Model(RegionId id, uintptr_t address,
                                                      size_t length_bytes) {
  if (const Live* const region = FindLive(id)) {
    const unsigned __int128 begin = address;
    const unsigned __int128 end = begin + length_bytes;
    if (begin < region->base || end > region->base + region->size_bytes) {
      return ValidationError::kOutOfRegion;
    }
    if (address % region->alignment_bytes != 0 || length_bytes % region->alignment_bytes != 0) {
      return ValidationError::kMisaligned;
    }
    return std::nullopt;
  }
  if (id.bits() == ~uint64_t{0} || id.generation() == 0) return ValidationError::kUnknownRegion;
  if (id.owner() != owner_) return ValidationError::kForeignRegistry;
  if (id.slot() >= kCapacity) return ValidationError::kUnknownRegion;
  // Generations only grow: what is not above the newest is of the past.
  return id.generation() <= newest_generation_[id.slot()] ? ValidationError::kStaleGeneration
                                                          : ValidationError::kUnknownRegion;
}

void RegistryHistory::CheckAnswers(Choices& choices) {
  const RegionId id = ChooseId(choices);
  uintptr_t address = kBase + choices.Below(160) * 2048 - 2 * kUnit;
  size_t length_bytes = choices.Below(8) * kUnit;
  const uint32_t variation = choices.Below(8);
  if (variation == 0) address = choices.Word();
  if (variation == 1) length_bytes = choices.Word();
  if (variation == 2) address += choices.Below(64);
  const auto expected = Model(id, address, length_bytes);
  const std::string where =
      absl::StrCat(id.ToString(), " at ", address, ", ", length_bytes, " bytes");
  Expect(registry_->Check(id, At(address), length_bytes) == expected, "Check: " + where);
  Expect(registry_->IsCurrent(id) == (FindLive(id) != nullptr), "IsCurrent: " + where);
  const absl::Status status = registry_->Validate(id, At(address), length_bytes);
  Expect(io::ValidationErrorOf(status) == expected && status.ok() == !expected.has_value(),
         absl::StrCat("Validate: ", where, ": ", status.ToString()));
  Lease taken{.lease = {}, .id = id};
  Expect(registry_->TryLease(id, At(address), length_bytes, taken.lease) == expected,
         "TryLease: " + where);
  Expect(taken.lease.held() == !expected.has_value(), "lease: " + where);
  if (taken.lease.held()) {
    Live* const region = FindLive(id);
    Expect(taken.lease.slot() == id.slot() && taken.lease.fixed() == region->fixed,
           "what the lease says: " + where);
    if (leases_.size() < kMostLeases && choices.Below(4) == 0) {
      ++region->leases;
      leases_.push_back(std::move(taken));
    }
  }
  ++answers_[expected.has_value() ? static_cast<size_t>(*expected) + 1 : 0];
}

void RegistryHistory::CheckInvariants() {
  Expect(registry_->region_count() == live_.size(), "region_count");
  std::map<uint16_t, uintptr_t> expected;
  for (const Live& region : live_) {
    const auto info = registry_->InfoOf(region.registration.id());
    Expect(info.ok() && info->in_flight == region.leases && info->fixed == region.fixed &&
               info->alignment_bytes == region.alignment_bytes,
           absl::StrCat("InfoOf ", region.registration.id().ToString()));
    if (region.fixed) expected[region.registration.id().slot()] = region.base;
  }
  for (size_t i = 0; i < tables_.size(); ++i) {
    if (!attached_[i]) continue;
    std::map<uint16_t, uintptr_t> held;
    for (const auto& [slot, region] : tables_[i].regions()) {
      held[slot] = reinterpret_cast<uintptr_t>(region.base());
    }
    Expect(held == expected, absl::StrCat("ring ", i, " does not hold what is registered"));
  }
}

}  // namespace fixpool::tests
