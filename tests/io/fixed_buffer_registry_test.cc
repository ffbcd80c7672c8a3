#include "fixpool/io/fixed_buffer_registry.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "fixpool/io/error.h"
#include "fixpool/io/memory_region.h"
#include "fixpool/io/region_id.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_buffer_table.h"
#include "tests/support/recording_environment.h"

namespace fixpool::io {
namespace {

using ::fixpool::tests::FakeBufferTable;
using ::fixpool::tests::RecordingEnvironment;
using ::testing::HasSubstr;

// Fake rings never look at the memory, so the tests make regions at made-up addresses.
MemoryRegion RegionAt(uintptr_t base, size_t size_bytes) {
  return *MemoryRegion::Create(reinterpret_cast<void*>(base), size_bytes);
}
const void* At(uintptr_t address) { return reinterpret_cast<const void*>(address); }

constexpr uintptr_t kBase = 0x10'0000'0000;
constexpr size_t kSize = size_t{1} << 20;

class FixedBufferRegistryTest : public ::testing::Test {
 protected:
  std::unique_ptr<FixedBufferRegistry> MakeRegistry(uint32_t capacity = 16) {
    return *FixedBufferRegistry::Create({.capacity = capacity,
                                         .release_timeout = absl::Milliseconds(20),
                                         .environment = &environment_});
  }

  RecordingEnvironment environment_;
};

// Detaches what it attached, so that a failed assertion does not end in a CHECK.
class Attachment {
 public:
  Attachment(FixedBufferRegistry& registry, FakeBufferTable& table)
      : registry_(registry), table_(table) {
    EXPECT_TRUE(registry_.Attach(&table_).ok());
  }
  ~Attachment() { registry_.Abandon(&table_); }

 private:
  FixedBufferRegistry& registry_;
  FakeBufferTable& table_;
};

// ---- Create ----

TEST_F(FixedBufferRegistryTest, CreateRejectsCapacityOutsideOneToSixteenThousand) {
  for (const uint32_t capacity : {0u, 16385u, ~0u}) {
    const auto registry = FixedBufferRegistry::Create({.capacity = capacity});
    EXPECT_TRUE(absl::IsInvalidArgument(registry.status())) << capacity;
    EXPECT_THAT(registry.status().message(), HasSubstr("1..16384"));
  }
  EXPECT_TRUE(FixedBufferRegistry::Create({.capacity = 1}).ok());
  EXPECT_EQ((*FixedBufferRegistry::Create({.capacity = 16384}))->capacity(), 16384u);
}

TEST_F(FixedBufferRegistryTest, CreateRejectsNullEnvironment) {
  EXPECT_TRUE(
      absl::IsInvalidArgument(FixedBufferRegistry::Create({.environment = nullptr}).status()));
}

TEST_F(FixedBufferRegistryTest, HasTheEnvironmentItWasGiven) {
  EXPECT_EQ(MakeRegistry()->environment(), &environment_);
}

// ---- Register ----

TEST_F(FixedBufferRegistryTest, RegistersWithoutAnyRing) {
  auto registry = MakeRegistry();
  absl::StatusOr<Registration> registration = registry->Register(RegionAt(kBase, kSize));
  ASSERT_TRUE(registration.ok()) << registration.status();
  EXPECT_TRUE(registration->holds_region());
  EXPECT_EQ(registry->region_count(), 1u);
  EXPECT_TRUE(registry->IsCurrent(registration->id()));
  EXPECT_TRUE(registry->Validate(registration->id(), At(kBase), kSize).ok());
  const auto info = registry->InfoOf(registration->id());
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->region, RegionAt(kBase, kSize));
  EXPECT_EQ(info->alignment_bytes, 512u);
  EXPECT_TRUE(info->fixed);
  EXPECT_EQ(info->fixed_errno, 0);
  EXPECT_EQ(info->in_flight, 0u);
}

TEST_F(FixedBufferRegistryTest, RegisterRejectsAlignmentThatIsNoPowerOfTwo) {
  auto registry = MakeRegistry();
  for (const uint32_t alignment : {0u, 3u, 513u, 4095u, ~0u}) {
    const auto registration =
        registry->Register(RegionAt(kBase, kSize), {.alignment_bytes = alignment});
    EXPECT_TRUE(absl::IsInvalidArgument(registration.status())) << alignment;
  }
  EXPECT_EQ(registry->region_count(), 0u);
}

TEST_F(FixedBufferRegistryTest, RegisterRejectsBaseOrSizeOffTheAlignment) {
  auto registry = MakeRegistry();
  EXPECT_TRUE(absl::IsInvalidArgument(registry->Register(RegionAt(kBase + 256, 4096)).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(registry->Register(RegionAt(kBase, 4097)).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      registry->Register(RegionAt(kBase + 512, 4096), {.alignment_bytes = 4096}).status()));
  EXPECT_TRUE(registry->Register(RegionAt(kBase + 1, 4097), {.alignment_bytes = 1}).ok());
}

TEST_F(FixedBufferRegistryTest, GivesASlotTheSameNumberInEveryRing) {
  auto registry = MakeRegistry();
  std::array<FakeBufferTable, 4> tables;
  std::vector<std::unique_ptr<Attachment>> attachments;
  for (auto& table : tables) {
    attachments.push_back(std::make_unique<Attachment>(*registry, table));
  }
  std::vector<Registration> registrations;
  for (int i = 0; i < 5; ++i) {
    registrations.push_back(*registry->Register(RegionAt(kBase + i * kSize, kSize)));
  }
  for (const auto& table : tables) {
    ASSERT_EQ(table.regions().size(), 5u);
    for (int i = 0; i < 5; ++i) {
      EXPECT_EQ(table.regions().at(registrations[i].id().slot()),
                RegionAt(kBase + i * kSize, kSize));
    }
  }
  registrations.clear();
  for (const auto& table : tables) EXPECT_TRUE(table.regions().empty());
}

TEST_F(FixedBufferRegistryTest, TakesSixteenThousandRegionsAndNotOneMore) {
  auto registry = MakeRegistry(16384);
  FakeBufferTable table;
  Attachment attachment(*registry, table);
  std::vector<Registration> registrations;
  for (uint32_t i = 0; i < 16384; ++i) {
    auto registration = registry->Register(RegionAt(kBase + i * size_t{4096}, 4096));
    ASSERT_TRUE(registration.ok()) << i << ": " << registration.status();
    registrations.push_back(std::move(*registration));
  }
  EXPECT_EQ(registry->region_count(), 16384u);
  const auto one_more = registry->Register(RegionAt(kBase, 4096));
  EXPECT_TRUE(absl::IsResourceExhausted(one_more.status()));
  EXPECT_THAT(one_more.status().message(), HasSubstr("16384"));
  EXPECT_EQ(table.regions().size(), 16384u);
  // A slot that is given back can be taken again.
  EXPECT_TRUE(registrations[7777].Release(absl::ZeroDuration()).ok());
  EXPECT_TRUE(registry->Register(RegionAt(kBase, 4096)).ok());
}

TEST_F(FixedBufferRegistryTest, FullTableSaysWhichOptionToRaise) {
  auto registry = MakeRegistry(1);
  Registration first = *registry->Register(RegionAt(kBase, 4096));
  const auto second = registry->Register(RegionAt(kBase + 4096, 4096));
  EXPECT_TRUE(absl::IsResourceExhausted(second.status()));
  EXPECT_THAT(second.status().message(), HasSubstr("capacity"));
}

// ---- Transactional ----

TEST_F(FixedBufferRegistryTest, FailureInTheThirdOfFourRingsLeavesNoTrace) {
  auto registry = MakeRegistry();
  std::array<FakeBufferTable, 4> tables;
  std::vector<std::unique_ptr<Attachment>> attachments;
  for (auto& table : tables) {
    attachments.push_back(std::make_unique<Attachment>(*registry, table));
  }
  Registration before = *registry->Register(RegionAt(kBase, kSize));
  tables[2].RefuseWith(EFAULT);
  const auto refused = registry->Register(RegionAt(kBase + kSize, kSize));
  EXPECT_EQ(ErrnoOf(refused.status()), EFAULT);
  EXPECT_EQ(registry->region_count(), 1u);
  for (const auto& table : tables) EXPECT_EQ(table.regions().size(), 1u);
  EXPECT_EQ(tables[3].set_calls(), 1);  // the one before
  EXPECT_TRUE(registry->IsCurrent(before.id()));
  // The slot is not lost.
  tables[2].RefuseWith(0);
  Registration after = *registry->Register(RegionAt(kBase + kSize, kSize));
  EXPECT_EQ(after.id().slot(), before.id().slot() + 1);
  for (const auto& table : tables) EXPECT_EQ(table.regions().size(), 2u);
}

TEST_F(FixedBufferRegistryTest, RegisterAllIsAllOrNone) {
  auto registry = MakeRegistry();
  std::array<FakeBufferTable, 4> tables;
  std::vector<std::unique_ptr<Attachment>> attachments;
  for (auto& table : tables) {
    attachments.push_back(std::make_unique<Attachment>(*registry, table));
  }
  std::vector<MemoryRegion> regions;
  for (int i = 0; i < 6; ++i) regions.push_back(RegionAt(kBase + i * kSize, kSize));
  auto backing = std::make_shared<int>(1);
  tables[2].set_set_hook([&](uint16_t, const MemoryRegion& region) {
    return region == regions[4] ? ErrnoStatus(EFAULT, "fake ring") : absl::OkStatus();
  });
  const auto refused = registry->RegisterAll(regions, {.backing = backing});
  EXPECT_EQ(ErrnoOf(refused.status()), EFAULT);
  EXPECT_EQ(registry->region_count(), 0u);
  for (const auto& table : tables) EXPECT_TRUE(table.regions().empty());
  EXPECT_EQ(backing.use_count(), 1);

  tables[2].RefuseWith(0);
  auto registered = registry->RegisterAll(regions, {.backing = backing});
  ASSERT_TRUE(registered.ok()) << registered.status();
  EXPECT_EQ(registered->size(), 6u);
  EXPECT_EQ(registry->region_count(), 6u);
  std::set<uint16_t> slots;
  for (size_t i = 0; i < 6; ++i) {
    slots.insert((*registered)[i].id().slot());
    EXPECT_EQ(registry->InfoOf((*registered)[i].id())->region, regions[i]);
  }
  EXPECT_EQ(slots.size(), 6u);
  registered->clear();
  EXPECT_EQ(backing.use_count(), 1);
}

TEST_F(FixedBufferRegistryTest, RegisterAllOfNothingIsNothing) {
  auto registry = MakeRegistry();
  const auto registered = registry->RegisterAll({}, {});
  ASSERT_TRUE(registered.ok());
  EXPECT_TRUE(registered->empty());
}

TEST_F(FixedBufferRegistryTest, RegisterAllBeyondCapacityLeavesNothing) {
  auto registry = MakeRegistry(3);
  std::vector<MemoryRegion> regions(4, RegionAt(kBase, kSize));
  EXPECT_TRUE(absl::IsResourceExhausted(registry->RegisterAll(regions, {}).status()));
  EXPECT_EQ(registry->region_count(), 0u);
}

TEST_F(FixedBufferRegistryTest, AttachThatFailsLeavesTheRingEmptyAndUnattached) {
  auto registry = MakeRegistry();
  std::vector<Registration> registrations;
  for (int i = 0; i < 5; ++i) {
    registrations.push_back(*registry->Register(RegionAt(kBase + i * kSize, kSize)));
  }
  FakeBufferTable table;
  table.set_set_hook([](uint16_t slot, const MemoryRegion&) {
    return slot == 3 ? ErrnoStatus(ENOMEM, "fake ring, slot 3") : absl::OkStatus();
  });
  const absl::Status refused = registry->Attach(&table);
  EXPECT_EQ(ErrnoOf(refused), ENOMEM);
  EXPECT_THAT(refused.message(), HasSubstr("slot 3"));
  EXPECT_TRUE(table.regions().empty());
  // Not attached: it is neither told of new regions nor looked for by the destructor.
  registrations.push_back(*registry->Register(RegionAt(kBase + 5 * kSize, kSize)));
  EXPECT_TRUE(table.regions().empty());
}

TEST_F(FixedBufferRegistryTest, AttachBringsTheRegionsThatAreThereAndDetachTakesThem) {
  auto registry = MakeRegistry();
  std::vector<Registration> registrations;
  for (int i = 0; i < 5; ++i) {
    registrations.push_back(*registry->Register(RegionAt(kBase + i * kSize, kSize)));
  }
  ASSERT_TRUE(registrations[1].Release(absl::ZeroDuration()).ok());
  FakeBufferTable table;
  ASSERT_TRUE(registry->Attach(&table).ok());
  EXPECT_EQ(table.regions().size(), 4u);
  EXPECT_FALSE(table.regions().contains(1));
  ASSERT_TRUE(registry->Detach(&table).ok());
  EXPECT_TRUE(table.regions().empty());
  EXPECT_EQ(registry->region_count(), 4u);
}

TEST_F(FixedBufferRegistryTest, RingThatWillNotUndoCostsASlotAndIsReported) {
  auto registry = MakeRegistry(2);
  FakeBufferTable good;
  FakeBufferTable bad;
  Attachment first(*registry, good);
  Attachment second(*registry, bad);
  good.RefuseToClear(true);
  bad.RefuseWith(ENOMEM);
  // Even where ENOMEM would do: the slot is in an unknown state.
  const auto refused = registry->Register(RegionAt(kBase, kSize));
  EXPECT_FALSE(refused.ok());
  EXPECT_TRUE(environment_.Heard(Severity::kError, "never used again"))
      << environment_.Transcript();
  EXPECT_EQ(registry->region_count(), 0u);
  bad.RefuseWith(0);
  Registration next = *registry->Register(RegionAt(kBase, kSize));
  EXPECT_EQ(next.id().slot(), 1);
  EXPECT_TRUE(absl::IsResourceExhausted(registry->Register(RegionAt(kBase, kSize)).status()));
  good.RefuseToClear(false);
}

// ---- Rings that share one registration ----

TEST_F(FixedBufferRegistryTest, RingsThatCanShareARegistrationAreGivenItOnce) {
  auto registry = MakeRegistry();
  FakeBufferTable::Peers peers;
  std::array<FakeBufferTable, 3> tables;
  std::vector<std::unique_ptr<Attachment>> attachments;
  for (int i = 0; i < 3; ++i) tables[i].ShareAmong(peers, 100 + i);
  attachments.push_back(std::make_unique<Attachment>(*registry, tables[0]));
  attachments.push_back(std::make_unique<Attachment>(*registry, tables[1]));
  std::vector<Registration> registrations;
  for (int i = 0; i < 5; ++i) {
    registrations.push_back(*registry->Register(RegionAt(kBase + i * kSize, kSize)));
  }
  EXPECT_EQ(tables[0].set_calls(), 5);
  EXPECT_EQ(tables[1].set_calls(), 0);
  attachments.push_back(std::make_unique<Attachment>(*registry, tables[2]));
  EXPECT_EQ(tables[2].set_calls(), 0);
  for (const auto& table : tables) EXPECT_EQ(table.regions(), tables[0].regions());
  // A slot in the middle changes, and nothing else.
  ASSERT_TRUE(registrations[1].Release(absl::ZeroDuration()).ok());
  for (const auto& table : tables) EXPECT_EQ(table.regions().size(), 4u);
  registrations[1] = *registry->Register(RegionAt(kBase + 9 * kSize, kSize));
  for (const auto& table : tables) {
    EXPECT_EQ(table.regions().size(), 5u);
    EXPECT_EQ(table.regions(), tables[0].regions());
  }
}

TEST_F(FixedBufferRegistryTest, RingThatCannotShareIsGivenTheRegionItself) {
  auto registry = MakeRegistry();
  FakeBufferTable::Peers peers;
  std::array<FakeBufferTable, 3> tables;
  tables[0].ShareAmong(peers, 100);
  tables[2].ShareAmong(peers, 102);
  std::vector<std::unique_ptr<Attachment>> attachments;
  for (auto& table : tables) {
    attachments.push_back(std::make_unique<Attachment>(*registry, table));
  }
  Registration registration = *registry->Register(RegionAt(kBase, kSize));
  EXPECT_EQ(tables[1].set_calls(), 1);
  EXPECT_EQ(tables[2].set_calls(), 0);
  for (const auto& table : tables) EXPECT_EQ(table.regions().size(), 1u);
}

TEST_F(FixedBufferRegistryTest, SharedRegistrationThatFailsHalfwayLeavesNoTrace) {
  auto registry = MakeRegistry();
  FakeBufferTable::Peers peers;
  std::array<FakeBufferTable, 3> tables;
  tables[0].ShareAmong(peers, 100);
  tables[1].ShareAmong(peers, 101);
  std::vector<std::unique_ptr<Attachment>> attachments;
  for (auto& table : tables) {
    attachments.push_back(std::make_unique<Attachment>(*registry, table));
  }
  tables[2].RefuseWith(EFAULT);
  EXPECT_EQ(ErrnoOf(registry->Register(RegionAt(kBase, kSize)).status()), EFAULT);
  for (const auto& table : tables) EXPECT_TRUE(table.regions().empty());
  EXPECT_EQ(registry->region_count(), 0u);
}

// ---- RLIMIT_MEMLOCK ----

TEST_F(FixedBufferRegistryTest, ShortageOfLockedMemoryGoesPlainAndSaysSo) {
  auto registry = MakeRegistry();
  std::array<FakeBufferTable, 3> tables;
  std::vector<std::unique_ptr<Attachment>> attachments;
  for (auto& table : tables) {
    attachments.push_back(std::make_unique<Attachment>(*registry, table));
  }
  tables[1].RefuseWith(ENOMEM);
  auto backing = std::make_shared<int>(1);
  absl::StatusOr<Registration> registration =
      registry->Register(RegionAt(kBase, kSize), {.backing = backing});
  ASSERT_TRUE(registration.ok()) << registration.status();
  for (const auto& table : tables) EXPECT_TRUE(table.regions().empty());
  const auto info = registry->InfoOf(registration->id());
  ASSERT_TRUE(info.ok());
  EXPECT_FALSE(info->fixed);
  EXPECT_EQ(info->fixed_errno, ENOMEM);
  EXPECT_TRUE(environment_.Heard(Severity::kWarning, "the plain way")) << environment_.Transcript();
  // It is a region like any other, but for that.
  RegionLease lease;
  EXPECT_EQ(registry->TryLease(registration->id(), At(kBase), 4096, lease), std::nullopt);
  EXPECT_FALSE(lease.fixed());
  lease.End();
  // A ring that comes later is not given it either: it would hold what the others do not.
  FakeBufferTable late;
  Attachment attachment(*registry, late);
  EXPECT_TRUE(late.regions().empty());
  EXPECT_TRUE(registration->Release(absl::ZeroDuration()).ok());
  for (const auto& table : tables) EXPECT_TRUE(table.regions().empty());
  EXPECT_EQ(backing.use_count(), 1);
}

TEST_F(FixedBufferRegistryTest, RequiredFixedBuffersFailWithoutTrace) {
  auto registry = MakeRegistry();
  std::array<FakeBufferTable, 3> tables;
  std::vector<std::unique_ptr<Attachment>> attachments;
  for (auto& table : tables) {
    attachments.push_back(std::make_unique<Attachment>(*registry, table));
  }
  tables[2].RefuseWith(ENOMEM);
  auto backing = std::make_shared<int>(1);
  const auto refused =
      registry->Register(RegionAt(kBase, kSize),
                         {.backing = backing, .fixed = FixedBufferRegistry::FixedPolicy::kRequire});
  EXPECT_TRUE(absl::IsResourceExhausted(refused.status()));
  EXPECT_EQ(ErrnoOf(refused.status()), ENOMEM);
  EXPECT_EQ(registry->region_count(), 0u);
  EXPECT_EQ(backing.use_count(), 1);
  for (const auto& table : tables) EXPECT_TRUE(table.regions().empty());
  EXPECT_EQ(environment_.message_count(), 0u) << environment_.Transcript();
}

TEST_F(FixedBufferRegistryTest, OnlyShortageOfLockedMemoryIsPutUpWith) {
  auto registry = MakeRegistry();
  FakeBufferTable table;
  Attachment attachment(*registry, table);
  for (const int error_number : {EFAULT, EPERM, EINVAL, EOPNOTSUPP, EAGAIN}) {
    table.RefuseWith(error_number);
    EXPECT_EQ(ErrnoOf(registry->Register(RegionAt(kBase, kSize)).status()), error_number);
  }
}

// ---- Validation ----

TEST_F(FixedBufferRegistryTest, FiveValidationErrorsAreFiveDifferentAnswers) {
  auto registry = MakeRegistry();
  auto other = MakeRegistry();
  Registration stale = *registry->Register(RegionAt(kBase, kSize));
  const RegionId stale_id = stale.id();
  ASSERT_TRUE(stale.Release(absl::ZeroDuration()).ok());
  Registration live = *registry->Register(RegionAt(kBase, kSize));
  Registration foreign = *other->Register(RegionAt(kBase, kSize));

  struct Case {
    RegionId id;
    uintptr_t address;
    size_t length_bytes;
    ValidationError error;
    absl::StatusCode code;
    const char* words;
  };
  const Case cases[] = {
      {RegionId(), kBase, 512, ValidationError::kUnknownRegion, absl::StatusCode::kNotFound,
       "ever registered"},
      {RegionId::kUnregistered, kBase, 512, ValidationError::kUnknownRegion,
       absl::StatusCode::kNotFound, "unregistered memory"},
      {stale_id, kBase, 512, ValidationError::kStaleGeneration,
       absl::StatusCode::kFailedPrecondition, "unregistered"},
      {foreign.id(), kBase, 512, ValidationError::kForeignRegistry,
       absl::StatusCode::kPermissionDenied, "another registry"},
      {live.id(), kBase + kSize, 512, ValidationError::kOutOfRegion, absl::StatusCode::kOutOfRange,
       "1048576 bytes"},
      {live.id(), kBase + 256, 512, ValidationError::kMisaligned,
       absl::StatusCode::kInvalidArgument, "512"},
  };
  for (const Case& c : cases) {
    const absl::Status status = registry->Validate(c.id, At(c.address), c.length_bytes);
    EXPECT_EQ(status.code(), c.code) << status;
    EXPECT_EQ(ValidationErrorOf(status), c.error) << status;
    EXPECT_THAT(status.message(), HasSubstr(c.words));
    EXPECT_THAT(status.message(), HasSubstr(absl::StrCat(c.length_bytes, " bytes at")));
    EXPECT_EQ(registry->Check(c.id, At(c.address), c.length_bytes), c.error);
    RegionLease lease;
    EXPECT_EQ(registry->TryLease(c.id, At(c.address), c.length_bytes, lease), c.error);
    EXPECT_FALSE(lease.held());
  }
  // Refused leases leave no count behind.
  EXPECT_EQ(registry->InfoOf(live.id())->in_flight, 0u);
}

TEST_F(FixedBufferRegistryTest, RejectsStaleGenerationAfterUnregister) {
  auto registry = MakeRegistry();
  FakeBufferTable table;
  Attachment attachment(*registry, table);
  Registration first = *registry->Register(RegionAt(kBase, kSize));
  const RegionId kept = first.id();
  ASSERT_TRUE(first.Release(absl::ZeroDuration()).ok());
  // The same addresses, in the same slot: the kernel could not tell the two apart.
  Registration second = *registry->Register(RegionAt(kBase, kSize));
  ASSERT_EQ(second.id().slot(), kept.slot());
  EXPECT_FALSE(registry->IsCurrent(kept));
  EXPECT_EQ(registry->Check(kept, At(kBase), 512), ValidationError::kStaleGeneration);
  EXPECT_EQ(registry->Check(second.id(), At(kBase), 512), std::nullopt);
  RegionLease lease;
  EXPECT_EQ(registry->TryLease(kept, At(kBase), 512, lease), ValidationError::kStaleGeneration);
  EXPECT_TRUE(absl::IsFailedPrecondition(registry->InfoOf(kept).status()));
  // A hundred lives later it is as stale.
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(second.Release(absl::ZeroDuration()).ok());
    second = *registry->Register(RegionAt(kBase, kSize));
  }
  EXPECT_EQ(registry->Check(kept, At(kBase), 512), ValidationError::kStaleGeneration);
}

TEST_F(FixedBufferRegistryTest, InfoOfAnswersAsValidateDoes) {
  auto registry = MakeRegistry();
  auto other = MakeRegistry();
  Registration foreign = *other->Register(RegionAt(kBase, kSize));
  EXPECT_TRUE(absl::IsNotFound(registry->InfoOf(RegionId()).status()));
  EXPECT_TRUE(absl::IsNotFound(registry->InfoOf(RegionId::kUnregistered).status()));
  EXPECT_TRUE(absl::IsPermissionDenied(registry->InfoOf(foreign.id()).status()));
  EXPECT_TRUE(absl::IsNotFound(
                  registry->InfoOf(RegionId::FromParts(16, foreign.id().owner(), 1)).status()) ||
              absl::IsPermissionDenied(
                  registry->InfoOf(RegionId::FromParts(16, foreign.id().owner(), 1)).status()));
}

TEST_F(FixedBufferRegistryTest, BoundsHoldAtEveryEdge) {
  auto registry = MakeRegistry();
  Registration registration = *registry->Register(RegionAt(kBase, 8192), {.alignment_bytes = 1});
  const auto check = [&](uintptr_t address, size_t length_bytes) {
    return registry->Check(registration.id(), At(address), length_bytes);
  };
  const auto out = ValidationError::kOutOfRegion;
  EXPECT_EQ(check(kBase, 8192), std::nullopt);
  EXPECT_EQ(check(kBase + 8191, 1), std::nullopt);
  EXPECT_EQ(check(kBase + 8192, 0), std::nullopt);
  EXPECT_EQ(check(kBase, 8193), out);         // across the end
  EXPECT_EQ(check(kBase + 4096, 4097), out);  // across the end
  EXPECT_EQ(check(kBase - 1, 1), out);
  EXPECT_EQ(check(kBase - 1, 2), out);  // across the beginning
  EXPECT_EQ(check(kBase + 8192, 1), out);
  EXPECT_EQ(check(kBase + 8193, 0), out);
  EXPECT_EQ(check(0, 1), out);
  EXPECT_EQ(check(kBase + 4096, SIZE_MAX), out);         // pointer + length wraps
  EXPECT_EQ(check(kBase + 4096, SIZE_MAX - 4095), out);  // wraps to below the region
  EXPECT_EQ(check(kBase, SIZE_MAX - kBase + 1), out);    // wraps to exactly 0
  EXPECT_EQ(check(UINTPTR_MAX, SIZE_MAX), out);
}

TEST_F(FixedBufferRegistryTest, AlignmentIsThatOfTheRegion) {
  auto registry = MakeRegistry();
  Registration registration =
      *registry->Register(RegionAt(kBase, kSize), {.alignment_bytes = 4096});
  const auto check = [&](uintptr_t address, size_t length_bytes) {
    return registry->Check(registration.id(), At(address), length_bytes);
  };
  EXPECT_EQ(check(kBase + 4096, 4096), std::nullopt);
  EXPECT_EQ(check(kBase + 512, 4096), ValidationError::kMisaligned);
  EXPECT_EQ(check(kBase + 4096, 512), ValidationError::kMisaligned);
  EXPECT_EQ(check(kBase + kSize - 512, 4096), ValidationError::kOutOfRegion);
}

// ---- Leases and Release ----

TEST_F(FixedBufferRegistryTest, LeaseIsCountedUntilItEnds) {
  auto registry = MakeRegistry();
  Registration registration = *registry->Register(RegionAt(kBase, kSize));
  const RegionId id = registration.id();
  {
    RegionLease first;
    RegionLease second;
    ASSERT_EQ(registry->TryLease(id, At(kBase), 512, first), std::nullopt);
    ASSERT_EQ(registry->TryLease(id, At(kBase), 512, second), std::nullopt);
    EXPECT_TRUE(first.fixed());
    EXPECT_EQ(registry->InfoOf(id)->in_flight, 2u);
    RegionLease moved = std::move(first);
    EXPECT_FALSE(first.held());  // NOLINT(bugprone-use-after-move)
    EXPECT_EQ(registry->InfoOf(id)->in_flight, 2u);
    moved = std::move(second);  // ends what it held
    EXPECT_EQ(registry->InfoOf(id)->in_flight, 1u);
    // A lease that is taken again gives the old one back.
    ASSERT_EQ(registry->TryLease(id, At(kBase), 512, moved), std::nullopt);
    EXPECT_EQ(registry->InfoOf(id)->in_flight, 1u);
    moved.End();
    moved.End();
    EXPECT_EQ(registry->InfoOf(id)->in_flight, 0u);
    ASSERT_EQ(registry->TryLease(id, At(kBase), 512, first), std::nullopt);
  }
  EXPECT_EQ(registry->InfoOf(id)->in_flight, 0u);
}

TEST_F(FixedBufferRegistryTest, ReleaseOfNothingIsFailedPrecondition) {
  Registration nothing;
  EXPECT_FALSE(nothing.holds_region());
  EXPECT_TRUE(absl::IsFailedPrecondition(nothing.Release(absl::ZeroDuration())));
  auto registry = MakeRegistry();
  Registration registration = *registry->Register(RegionAt(kBase, kSize));
  EXPECT_TRUE(registration.Release(absl::ZeroDuration()).ok());
  EXPECT_FALSE(registration.holds_region());
  EXPECT_TRUE(absl::IsFailedPrecondition(registration.Release(absl::ZeroDuration())));
}

TEST_F(FixedBufferRegistryTest, MovedRegistrationTakesTheRegionAlong) {
  auto registry = MakeRegistry();
  Registration first = *registry->Register(RegionAt(kBase, kSize));
  const RegionId id = first.id();
  Registration second = std::move(first);
  EXPECT_FALSE(first.holds_region());  // NOLINT(bugprone-use-after-move)
  EXPECT_TRUE(registry->IsCurrent(id));
  EXPECT_EQ(second.id(), id);
  second = Registration();
  EXPECT_FALSE(registry->IsCurrent(id));
  EXPECT_EQ(registry->region_count(), 0u);
}

TEST_F(FixedBufferRegistryTest, ReleaseThatTimesOutPutsTheRegionBackInService) {
  auto registry = MakeRegistry();
  FakeBufferTable table;
  Attachment attachment(*registry, table);
  auto backing = std::make_shared<int>(1);
  Registration registration = *registry->Register(RegionAt(kBase, kSize), {.backing = backing});
  RegionLease lease;
  ASSERT_EQ(registry->TryLease(registration.id(), At(kBase), 512, lease), std::nullopt);
  const absl::Status status = registration.Release(absl::Milliseconds(5));
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("1 transfers"));
  EXPECT_TRUE(registration.holds_region());
  EXPECT_TRUE(registry->IsCurrent(registration.id()));
  EXPECT_EQ(table.regions().size(), 1u);
  RegionLease another;
  EXPECT_EQ(registry->TryLease(registration.id(), At(kBase), 512, another), std::nullopt);
  EXPECT_EQ(backing.use_count(), 2);
  another.End();
  lease.End();
  EXPECT_TRUE(registration.Release(absl::ZeroDuration()).ok());
  EXPECT_EQ(backing.use_count(), 1);
}

TEST_F(FixedBufferRegistryTest, ReleaseWaitsForALeaseThatAnotherThreadEnds) {
  auto registry = MakeRegistry();
  FakeBufferTable table;
  Attachment attachment(*registry, table);
  std::atomic<bool> ended{false};
  struct Witness {
    explicit Witness(std::atomic<bool>& ended) : ended(ended) {}
    ~Witness() { EXPECT_TRUE(ended.load()) << "the backing went while a transfer was in flight"; }
    std::atomic<bool>& ended;
  };
  Registration registration =
      *registry->Register(RegionAt(kBase, kSize), {.backing = std::make_shared<Witness>(ended)});
  const RegionId id = registration.id();
  RegionLease lease;
  ASSERT_EQ(registry->TryLease(id, At(kBase), 512, lease), std::nullopt);
  std::thread other([&, lease = std::move(lease)]() mutable {
    // Not before Release has closed the slot: that no new transfer comes is part of it.
    while (registry->IsCurrent(id)) std::this_thread::yield();
    EXPECT_EQ(registry->Check(id, At(kBase), 512), ValidationError::kStaleGeneration);
    RegionLease late;
    EXPECT_EQ(registry->TryLease(id, At(kBase), 512, late), ValidationError::kStaleGeneration);
    ended.store(true);
    lease.End();
  });
  EXPECT_TRUE(registration.Release(absl::InfiniteDuration()).ok());
  EXPECT_TRUE(ended.load());
  EXPECT_TRUE(table.regions().empty());
  other.join();
}

TEST_F(FixedBufferRegistryTest, ReleaseDrivesTheRingsWhileItWaits) {
  auto registry = MakeRegistry();
  std::array<FakeBufferTable, 2> tables;
  Attachment first(*registry, tables[0]);
  Attachment second(*registry, tables[1]);
  Registration registration = *registry->Register(RegionAt(kBase, kSize));
  RegionLease lease;
  ASSERT_EQ(registry->TryLease(registration.id(), At(kBase), 512, lease), std::nullopt);
  // The second ring has the completion, and nobody but Release looks for it.
  tables[1].set_progress_hook([&](Deadline deadline) {
    EXPECT_FALSE(deadline.is_infinite()) << "the registry's lock is held meanwhile";
    if (tables[1].progress_calls() == 3) lease.End();
  });
  EXPECT_TRUE(registration.Release(absl::InfiniteDuration()).ok());
  EXPECT_GE(tables[0].progress_calls(), 1);
  EXPECT_EQ(tables[1].progress_calls(), 3);
}

TEST_F(FixedBufferRegistryTest, ReleaseWithoutPatienceStillLooksOnce) {
  auto registry = MakeRegistry();
  FakeBufferTable table;
  Attachment attachment(*registry, table);
  Registration registration = *registry->Register(RegionAt(kBase, kSize));
  RegionLease lease;
  ASSERT_EQ(registry->TryLease(registration.id(), At(kBase), 512, lease), std::nullopt);
  table.set_progress_hook([&](Deadline) { lease.End(); });
  EXPECT_TRUE(registration.Release(absl::ZeroDuration()).ok());
}

TEST_F(FixedBufferRegistryTest, BackingGoesOnlyAfterEveryRingHasLetGo) {
  auto registry = MakeRegistry();
  std::array<FakeBufferTable, 3> tables;
  std::vector<std::unique_ptr<Attachment>> attachments;
  for (auto& table : tables) {
    attachments.push_back(std::make_unique<Attachment>(*registry, table));
  }
  struct Witness {
    explicit Witness(std::array<FakeBufferTable, 3>& tables) : tables(tables) {}
    ~Witness() {
      for (const auto& table : tables) EXPECT_TRUE(table.regions().empty());
    }
    std::array<FakeBufferTable, 3>& tables;
  };
  auto witness = std::make_shared<Witness>(tables);
  const std::weak_ptr<Witness> alive = witness;
  Registration registration =
      *registry->Register(RegionAt(kBase, kSize), {.backing = std::move(witness)});
  EXPECT_FALSE(alive.expired());
  EXPECT_TRUE(registration.Release(absl::ZeroDuration()).ok());
  EXPECT_TRUE(alive.expired());
}

TEST_F(FixedBufferRegistryTest, DestructorThatCannotReleaseLeaksAndReports) {
  std::weak_ptr<int> alive;
  RegionLease lease;
  auto registry = MakeRegistry(2);
  FakeBufferTable table;
  ASSERT_TRUE(registry->Attach(&table).ok());
  RegionId id;
  {
    auto backing = std::make_shared<int>(1);
    alive = backing;
    Registration registration =
        *registry->Register(RegionAt(kBase, kSize), {.backing = std::move(backing)});
    id = registration.id();
    ASSERT_EQ(registry->TryLease(id, At(kBase), 512, lease), std::nullopt);
  }
  EXPECT_TRUE(environment_.Heard(Severity::kError, "leaked on purpose"))
      << environment_.Transcript();
  EXPECT_FALSE(alive.expired());
  EXPECT_EQ(registry->region_count(), 0u);
  EXPECT_EQ(registry->Check(id, At(kBase), 512), ValidationError::kStaleGeneration);
  lease.End();
  EXPECT_FALSE(alive.expired());
  // Its slot stays closed, and a ring that comes later never hears of it.
  Registration next = *registry->Register(RegionAt(kBase + kSize, kSize));
  EXPECT_NE(next.id().slot(), id.slot());
  FakeBufferTable late;
  ASSERT_TRUE(registry->Attach(&late).ok());
  EXPECT_EQ(late.regions().size(), 1u);
  EXPECT_FALSE(late.regions().contains(id.slot()));
  EXPECT_TRUE(absl::IsResourceExhausted(registry->Register(RegionAt(kBase, kSize)).status()));
  EXPECT_TRUE(next.Release(absl::ZeroDuration()).ok());
  EXPECT_TRUE(registry->Detach(&late).ok());
  registry->Abandon(&table);
  registry.reset();  // no CHECK: a leaked region is nobody's any more
  EXPECT_FALSE(alive.expired());
}

TEST_F(FixedBufferRegistryTest, RingThatWillNotEmptyASlotIsAnInternalErrorAndLeaks) {
  auto registry = MakeRegistry(2);
  std::array<FakeBufferTable, 2> tables;
  Attachment first(*registry, tables[0]);
  Attachment second(*registry, tables[1]);
  auto backing = std::make_shared<int>(1);
  Registration registration = *registry->Register(RegionAt(kBase, kSize), {.backing = backing});
  const RegionId id = registration.id();
  tables[0].RefuseToClear(true);
  const absl::Status status = registration.Release(absl::ZeroDuration());
  EXPECT_TRUE(absl::IsInternal(status)) << status;
  EXPECT_FALSE(registration.holds_region());
  EXPECT_EQ(backing.use_count(), 2);
  EXPECT_TRUE(tables[1].regions().empty());  // the others were asked all the same
  EXPECT_EQ(registry->Check(id, At(kBase), 512), ValidationError::kStaleGeneration);
  tables[0].RefuseToClear(false);
  Registration next = *registry->Register(RegionAt(kBase, kSize));
  EXPECT_NE(next.id().slot(), id.slot());
}

TEST_F(FixedBufferRegistryTest, DestructorReportsARingThatWillNotEmptyASlot) {
  auto registry = MakeRegistry();
  FakeBufferTable table;
  Attachment attachment(*registry, table);
  auto backing = std::make_shared<int>(1);
  {
    Registration registration = *registry->Register(RegionAt(kBase, kSize), {.backing = backing});
    table.RefuseToClear(true);
  }
  EXPECT_TRUE(environment_.Heard(Severity::kError, "never given back"))
      << environment_.Transcript();
  EXPECT_EQ(backing.use_count(), 2);
  table.RefuseToClear(false);
}

TEST_F(FixedBufferRegistryTest, DetachThatFailsKeepsTheMemoryForEver) {
  auto registry = MakeRegistry();
  FakeBufferTable table;
  ASSERT_TRUE(registry->Attach(&table).ok());
  auto backing = std::make_shared<int>(1);
  Registration registration = *registry->Register(RegionAt(kBase, kSize), {.backing = backing});
  table.RefuseToClear(true);
  const absl::Status status = registry->Detach(&table);
  EXPECT_TRUE(absl::IsInternal(status)) << status;
  // For the others it is still a region.
  EXPECT_TRUE(registry->IsCurrent(registration.id()));
  EXPECT_TRUE(registration.Release(absl::ZeroDuration()).ok());
  EXPECT_EQ(backing.use_count(), 2);
}

TEST_F(FixedBufferRegistryTest, AbandonedRingIsNotCalledAgain) {
  auto registry = MakeRegistry();
  FakeBufferTable table;
  ASSERT_TRUE(registry->Attach(&table).ok());
  Registration registration = *registry->Register(RegionAt(kBase, kSize));
  registry->Abandon(&table);
  EXPECT_TRUE(registration.Release(absl::ZeroDuration()).ok());
  EXPECT_EQ(table.clear_calls(), 0);
  EXPECT_EQ(table.regions().size(), 1u);
}

// ---- Many threads ----

// Leases are taken as fast as threads can while the region comes and goes. The backing says
// whether anybody held one when it went.
TEST_F(FixedBufferRegistryTest, NoLeaseOutlivesTheRegionUnderLoad) {
  auto registry = *FixedBufferRegistry::Create({.capacity = 2, .environment = &environment_});
  FakeBufferTable table;
  Attachment attachment(*registry, table);
  struct Witness {
    ~Witness() { EXPECT_EQ(holders.load(), 0); }
    std::atomic<int> holders{0};
  };
  std::atomic<uint64_t> current_id{0};
  std::atomic<Witness*> current_witness{nullptr};
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> leases{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      while (!stop.load()) {
        const RegionId id = RegionId::FromBits(current_id.load());
        RegionLease lease;
        if (registry->TryLease(id, At(kBase), 512, lease).has_value()) continue;
        // The lease holds the region, so the witness of this id is the one stored with it.
        Witness* const witness = current_witness.load();
        witness->holders.fetch_add(1);
        leases.fetch_add(1);
        witness->holders.fetch_sub(1);
      }
    });
  }
  for (int round = 0; round < 100; ++round) {
    auto witness = std::make_shared<Witness>();
    current_witness.store(witness.get());
    Registration registration =
        *registry->Register(RegionAt(kBase, kSize), {.backing = std::move(witness)});
    current_id.store(registration.id().bits());
    const uint64_t before = leases.load();
    while (leases.load() < before + 10) std::this_thread::yield();
    ASSERT_TRUE(registration.Release(absl::InfiniteDuration()).ok());
  }
  stop.store(true);
  for (auto& thread : threads) thread.join();
}

TEST_F(FixedBufferRegistryTest, ThreadsRegisterAndReleaseSideBySide) {
  auto registry = MakeRegistry(64);
  FakeBufferTable table;
  Attachment attachment(*registry, table);
  std::vector<std::thread> threads;
  for (uintptr_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (uintptr_t i = 0; i < 200; ++i) {
        const uintptr_t base = kBase + (t * 1000 + i) * kSize;
        Registration registration = *registry->Register(RegionAt(base, kSize));
        EXPECT_TRUE(registry->Validate(registration.id(), At(base), kSize).ok());
        EXPECT_TRUE(registration.Release(absl::ZeroDuration()).ok());
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(registry->region_count(), 0u);
  EXPECT_TRUE(table.regions().empty());
}

TEST_F(FixedBufferRegistryTest, RegistriesOfOneProcessHaveDifferentOwners) {
  std::set<uint16_t> owners;
  for (int i = 0; i < 100; ++i) {
    auto registry = MakeRegistry(1);
    owners.insert(registry->Register(RegionAt(kBase, 4096))->id().owner());
  }
  EXPECT_EQ(owners.size(), 100u);
  EXPECT_FALSE(owners.contains(0));
  EXPECT_FALSE(owners.contains(0xffff));
}

// ---- What only a bug can cause ----

using FixedBufferRegistryDeathTest = FixedBufferRegistryTest;

TEST_F(FixedBufferRegistryDeathTest, RegistryMustOutliveItsRegions) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        auto registry = MakeRegistry();
        Registration registration = *registry->Register(RegionAt(kBase, kSize));
        registry.reset();
      },
      "died with 1 regions registered");
}

TEST_F(FixedBufferRegistryDeathTest, RegistryMustOutliveItsEngines) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        FakeBufferTable table;
        auto registry = MakeRegistry();
        if (registry->Attach(&table).ok()) registry.reset();
      },
      "died before an engine attached to it");
}

}  // namespace
}  // namespace fixpool::io
