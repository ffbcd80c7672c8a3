// Leases, Release, and a registry in the hands of many threads.

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "fixpool/io/error.h"
#include "fixpool/io/fixed_buffer_registry.h"
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

class RegistryLeasesTest : public tests::RegistryFixture {};

// ---- Leases and Release ----

TEST_F(RegistryLeasesTest, LeaseIsCountedUntilItEnds) {
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

TEST_F(RegistryLeasesTest, ReleaseOfNothingIsFailedPrecondition) {
  Registration nothing;
  EXPECT_FALSE(nothing.holds_region());
  EXPECT_TRUE(absl::IsFailedPrecondition(nothing.Release(absl::ZeroDuration())));
  auto registry = MakeRegistry();
  Registration registration = *registry->Register(RegionAt(kBase, kSize));
  EXPECT_TRUE(registration.Release(absl::ZeroDuration()).ok());
  EXPECT_FALSE(registration.holds_region());
  EXPECT_TRUE(absl::IsFailedPrecondition(registration.Release(absl::ZeroDuration())));
}

TEST_F(RegistryLeasesTest, MovedRegistrationTakesTheRegionAlong) {
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

TEST_F(RegistryLeasesTest, ReleaseThatTimesOutPutsTheRegionBackInService) {
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

TEST_F(RegistryLeasesTest, ReleaseWaitsForALeaseThatAnotherThreadEnds) {
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

TEST_F(RegistryLeasesTest, ReleaseDrivesTheRingsWhileItWaits) {
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

TEST_F(RegistryLeasesTest, ReleaseWithoutPatienceStillLooksOnce) {
  auto registry = MakeRegistry();
  FakeBufferTable table;
  Attachment attachment(*registry, table);
  Registration registration = *registry->Register(RegionAt(kBase, kSize));
  RegionLease lease;
  ASSERT_EQ(registry->TryLease(registration.id(), At(kBase), 512, lease), std::nullopt);
  table.set_progress_hook([&](Deadline) { lease.End(); });
  EXPECT_TRUE(registration.Release(absl::ZeroDuration()).ok());
}

TEST_F(RegistryLeasesTest, BackingGoesOnlyAfterEveryRingHasLetGo) {
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

TEST_F(RegistryLeasesTest, DestructorThatCannotReleaseLeaksAndReports) {
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

TEST_F(RegistryLeasesTest, RingThatWillNotEmptyASlotIsAnInternalErrorAndLeaks) {
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

TEST_F(RegistryLeasesTest, DestructorReportsARingThatWillNotEmptyASlot) {
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

TEST_F(RegistryLeasesTest, DetachThatFailsKeepsTheMemoryForEver) {
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

TEST_F(RegistryLeasesTest, AbandonedRingIsNotCalledAgain) {
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
TEST_F(RegistryLeasesTest, NoLeaseOutlivesTheRegionUnderLoad) {
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

TEST_F(RegistryLeasesTest, ThreadsRegisterAndReleaseSideBySide) {
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

TEST_F(RegistryLeasesTest, RegistriesOfOneProcessHaveDifferentOwners) {
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

using RegistryDeathTest = tests::RegistryFixture;

TEST_F(RegistryDeathTest, RegistryMustOutliveItsRegions) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        auto registry = MakeRegistry();
        Registration registration = *registry->Register(RegionAt(kBase, kSize));
        registry.reset();
      },
      "died with 1 regions registered");
}

TEST_F(RegistryDeathTest, RegistryMustOutliveItsEngines) {
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
