#include "fixpool/io/fixed_buffer_registry.h"

#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "fixpool/io/error.h"
#include "fixpool/io/memory_region.h"
#include "fixpool/io/region_id.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/io/registry_fixture.h"
#include "tests/support/fake_buffer_table.h"

namespace fixpool::io {
namespace {

using ::fixpool::tests::At;
using ::fixpool::tests::Attachment;
using ::fixpool::tests::FakeBufferTable;
using ::fixpool::tests::kBase;
using ::fixpool::tests::kSize;
using ::fixpool::tests::RegionAt;
using ::testing::HasSubstr;

class FixedBufferRegistryTest : public tests::RegistryFixture {};

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

}  // namespace
}  // namespace fixpool::io
