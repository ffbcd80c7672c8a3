// Mappings on hugetlb pages, which a test must first have the machine set aside.

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "fixpool/arena/address_range.h"
#include "fixpool/arena/huge_page_settings.h"
#include "fixpool/arena/mapping.h"
#include "fixpool/arena/page_arena.h"
#include "fixpool/io/error.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/memory_region.h"
#include "fixpool/io/open_engine.h"
#include "gtest/gtest.h"
#include "tests/support/address_space.h"
#include "tests/support/child_process.h"
#include "tests/support/huge_pages.h"

namespace fixpool::arena {
namespace {

using tests::HugePageReservation;
using tests::VmaAt;
using tests::VmaView;

constexpr size_t kTwoMiB = size_t{2} << 20;
constexpr size_t kGiB = size_t{1} << 30;

void ExpectStandsOn(PageBacking backing, const Mapping& mapping) {
  ASSERT_EQ(mapping.backing(), backing) << mapping.report().ToString();
  EXPECT_TRUE(mapping.report().verified) << mapping.report().unverified_reason;
  EXPECT_EQ(mapping.report().got_bytes, mapping.size_bytes());
  const size_t page_bytes = PageBackingBytes(backing);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(mapping.base()) % page_bytes, 0u);
  const std::optional<VmaView> vma = VmaAt(mapping.base());
  ASSERT_TRUE(vma.has_value());
  EXPECT_EQ(vma->kernel_page_kib, page_bytes / 1024);
  EXPECT_EQ(vma->hugetlb_kib, mapping.size_bytes() / 1024);
  EXPECT_TRUE(vma->HasFlag("ht")) << vma->flags;
  EXPECT_TRUE(vma->HasFlag("dc")) << vma->flags;
}

TEST(MappingHugePagesTest, StandsOnTwoMiBPagesByDefaultWhereThereAreAny) {
  const auto reservation = HugePageReservation::Take(kTwoMiB, 8);
  if (!reservation.ok()) GTEST_SKIP() << reservation.status().message();
  for (const Ladder ladder : {Ladder{}, Ladder::Only(PageBacking::k2MiB)}) {
    const auto mapping = Mapping::Create(8 * kTwoMiB, {.ladder = ladder});
    ASSERT_TRUE(mapping.ok()) << mapping.status();
    ExpectStandsOn(PageBacking::k2MiB, **mapping);
    EXPECT_EQ((*mapping)->report().ToString(), "2 MiB huge pages");
  }
}

TEST(MappingHugePagesTest, LeavesARungAloneThatItMayNotUse) {
  const auto reservation = HugePageReservation::Take(kTwoMiB, 4);
  if (!reservation.ok()) GTEST_SKIP() << reservation.status().message();
  const auto mapping = Mapping::Create(4 * kTwoMiB, {.ladder = {.two_mib = RungPolicy::kNever}});
  ASSERT_TRUE(mapping.ok()) << mapping.status();
  EXPECT_NE((*mapping)->backing(), PageBacking::k2MiB);
  EXPECT_FALSE(VmaAt((*mapping)->base())->HasFlag("ht"));
  EXPECT_FALSE(absl::StrContains((*mapping)->report().ToString(), "2 MiB huge pages"));
}

TEST(MappingHugePagesTest, IsLeftOutOfCoreDumpsOnRequest) {
  const auto reservation = HugePageReservation::Take(kTwoMiB, 1);
  if (!reservation.ok()) GTEST_SKIP() << reservation.status().message();
  const Ladder ladder = Ladder::Only(PageBacking::k2MiB);
  const auto mapping = Mapping::Create(kTwoMiB, {.ladder = ladder, .dont_dump = true}).value();
  EXPECT_TRUE(VmaAt(mapping->base())->HasFlag("dd"));
}

TEST(MappingHugePagesTest, GivesItsPagesBack) {
  const auto reservation = HugePageReservation::Take(kTwoMiB, 4);
  if (!reservation.ok()) GTEST_SKIP() << reservation.status().message();
  const uint64_t before = ReadHugePagePool(kTwoMiB)->available();
  auto mapping = Mapping::Create(4 * kTwoMiB, {.ladder = Ladder::Only(PageBacking::k2MiB)});
  ASSERT_TRUE(mapping.ok()) << mapping.status();
  EXPECT_EQ(ReadHugePagePool(kTwoMiB)->available(), before - 4);
  mapping->reset();
  EXPECT_EQ(ReadHugePagePool(kTwoMiB)->available(), before);
}

TEST(MappingHugePagesTest, GoesARungDownAndSaysHowManyPagesAreMissing) {
  const auto reservation = HugePageReservation::Take(kTwoMiB, 4);
  if (!reservation.ok()) GTEST_SKIP() << reservation.status().message();
  const uint64_t available = ReadHugePagePool(kTwoMiB)->available();
  const size_t size_bytes = (available + 3) * kTwoMiB;
  const std::string sentence = absl::StrCat("2 MiB huge pages: wanted ", available + 3, ", ",
                                            available, " free; raise vm.nr_hugepages by 3");

  const auto mapping = Mapping::Create(size_bytes, {.ladder = {.one_gib = RungPolicy::kNever}});
  ASSERT_TRUE(mapping.ok()) << mapping.status();
  EXPECT_NE((*mapping)->backing(), PageBacking::k2MiB);
  ASSERT_FALSE((*mapping)->report().refusals.empty());
  const RungRefusal& refusal = (*mapping)->report().refusals.front();
  EXPECT_EQ(refusal.rung, PageBacking::k2MiB);
  EXPECT_EQ(refusal.error_number, ENOMEM);
  EXPECT_EQ(refusal.reason, sentence);
  EXPECT_TRUE(absl::StrContains((*mapping)->report().ToString(), sentence));

  const absl::Status required =
      Mapping::Create(size_bytes, {.ladder = Ladder::Only(PageBacking::k2MiB)}).status();
  EXPECT_TRUE(absl::IsResourceExhausted(required)) << required;
  EXPECT_TRUE(absl::StrContains(required.message(), sentence)) << required;
}

// Private hugetlb memory that a child would share makes fork fail for want of pages.
TEST(MappingHugePagesTest, DoesNotStandInTheWayOfFork) {
  const auto reservation = HugePageReservation::Take(kTwoMiB, 4);
  if (!reservation.ok()) GTEST_SKIP() << reservation.status().message();
  auto mapping = Mapping::Create(4 * kTwoMiB, {.ladder = Ladder::Only(PageBacking::k2MiB)});
  ASSERT_TRUE(mapping.ok()) << mapping.status();
  EXPECT_TRUE(tests::IsKeptFromChildren((*mapping)->base()));
  FIXPOOL_IN_CHILD([&mapping] {
    EXPECT_FALSE(tests::IsKeptFromChildren((*mapping)->base()));
    mapping->reset();
    return std::string();
  });
}

TEST(MappingHugePagesTest, RetiringGivesThePagesBackAtOnce) {
  const auto reservation = HugePageReservation::Take(kTwoMiB, 4);
  if (!reservation.ok()) GTEST_SKIP() << reservation.status().message();
  const Ladder ladder = Ladder::Only(PageBacking::k2MiB);
  auto mapping = Mapping::Create(4 * kTwoMiB, {.ladder = ladder}).value();
  std::byte* const base = mapping->base();
  const uint64_t free_before = ReadHugePagePool(kTwoMiB)->free;
  for (int i = 0; i < 20; ++i) {
    base[kTwoMiB] = std::byte{1};
    AddressRange retired = Mapping::Retire(mapping).value();
    EXPECT_EQ(ReadHugePagePool(kTwoMiB)->free, free_before + 4);
    EXPECT_EQ(ReadHugePagePool(kTwoMiB)->reserved, 0u);
    EXPECT_EQ(base[kTwoMiB], std::byte{0});  // hugetlb without a page would be a SIGBUS
    EXPECT_EQ(VmaAt(base)->permissions, "r--p");

    mapping = Mapping::Create(4 * kTwoMiB, {.ladder = ladder, .reuse = &retired}).value();
    ASSERT_EQ(mapping->base(), base) << mapping->report().ToString();
    EXPECT_EQ(ReadHugePagePool(kTwoMiB)->free, free_before);
    ExpectStandsOn(PageBacking::k2MiB, *mapping);
  }
}

TEST(MappingHugePagesTest, AddressesOutliveAChangeOfPages) {
  const auto reservation = HugePageReservation::Take(kTwoMiB, 4);
  if (!reservation.ok()) GTEST_SKIP() << reservation.status().message();
  for (const PageBacking first : {PageBacking::k2MiB, PageBacking::k4KiB}) {
    auto mapping = Mapping::Create(4 * kTwoMiB, {.ladder = Ladder::Only(first)}).value();
    std::byte* const base = mapping->base();
    for (const PageBacking backing : {PageBacking::kTransparent, PageBacking::k2MiB}) {
      AddressRange retired = Mapping::Retire(mapping).value();
      mapping = Mapping::Create(4 * kTwoMiB, {.ladder = Ladder::Only(backing), .reuse = &retired})
                    .value();
      EXPECT_EQ(mapping->base(), base) << mapping->report().ToString();
      EXPECT_EQ(mapping->backing(), backing);
      base[0] = std::byte{1};
    }
  }
}

TEST(MappingHugePagesTest, ReleasedBuffersAreFreeOnceRetired) {
  const auto reservation = HugePageReservation::Take(kTwoMiB, 4);
  if (!reservation.ok()) GTEST_SKIP() << reservation.status().message();
  auto registry = io::FixedBufferRegistry::Create({}).value();
  const auto engine = io::OpenEngine(registry.get()).value();
  const uint64_t free_before = ReadHugePagePool(kTwoMiB)->free;
  auto mapping = Mapping::Create(4 * kTwoMiB, {.ladder = Ladder::Only(PageBacking::k2MiB)}).value();
  auto registration = registry->Register(
      io::MemoryRegion::Create(mapping->base(), 4 * kTwoMiB).value(), {.backing = mapping});
  ASSERT_TRUE(registration.ok()) << registration.status();
  ASSERT_TRUE(registration->Release(absl::InfiniteDuration()).ok());
  const AddressRange retired = Mapping::Retire(mapping).value();
  EXPECT_EQ(ReadHugePagePool(kTwoMiB)->free, free_before);
}

TEST(MappingHugePagesTest, TellsOnWhichNodesItsHugePagesAre) {
  const auto reservation = HugePageReservation::Take(kTwoMiB, 4);
  if (!reservation.ok()) GTEST_SKIP() << reservation.status().message();
  const auto mapping = Mapping::Create(4 * kTwoMiB, {.ladder = Ladder::Only(PageBacking::k2MiB),
                                                     .numa = {.policy = NumaPolicy::kInterleave}});
  ASSERT_TRUE(mapping.ok()) << mapping.status();
  const NumaReport& numa = (*mapping)->report().numa;
  if (!numa.applied) GTEST_SKIP() << numa.why_not;
  EXPECT_EQ(numa.why_not, "");
  size_t counted_bytes = 0;
  for (const NumaShare& share : numa.got) counted_bytes += share.bytes;
  EXPECT_EQ(counted_bytes, 4 * kTwoMiB);
}

TEST(MappingHugePagesTest, StandsOnGiBPagesWhereTheyCanBeHad) {
  const auto reservation = HugePageReservation::Take(kGiB, 1);
  if (!reservation.ok()) GTEST_SKIP() << reservation.status().message();
  const auto mapping = Mapping::Create(kGiB);
  ASSERT_TRUE(mapping.ok()) << mapping.status();
  ExpectStandsOn(PageBacking::k1GiB, **mapping);
}

TEST(MappingHugePagesTest, GiBPagesAreNotMovedBetweenTheirBoundaries) {
  const auto reservation = HugePageReservation::Take(kGiB, 1);
  if (!reservation.ok()) GTEST_SKIP() << reservation.status().message();
  // Of two neighbours of a GiB and their guard pages one is off the boundary.
  AddressRange first = AddressRange::MapOrdinary(kGiB).value();
  AddressRange second = AddressRange::MapOrdinary(kGiB).value();
  const bool first_is_off = reinterpret_cast<uintptr_t>(first.base()) % kGiB != 0;
  AddressRange& retired = first_is_off ? first : second;
  if (reinterpret_cast<uintptr_t>(retired.base()) % kGiB == 0) GTEST_SKIP() << "both are on it";
  ASSERT_TRUE(retired.Retire().ok());
  const auto mapping =
      Mapping::Create(kGiB, {.ladder = Ladder::Only(PageBacking::k1GiB), .reuse = &retired});
  ASSERT_TRUE(mapping.ok()) << mapping.status();
  EXPECT_NE((*mapping)->base(), retired.base());
  EXPECT_TRUE(absl::StrContains((*mapping)->report().not_reused_reason, "multiple of 1 GiB"));
  EXPECT_EQ(retired.base()[kGiB - 1], std::byte{0});
}

TEST(MappingHugePagesTest, NamesThePoolOfGiBPages) {
  if (!ReadHugePagePool(kGiB).has_value()) GTEST_SKIP() << "this machine has no 1 GiB pages";
  // More than any machine has set aside.
  const absl::Status status =
      Mapping::Create(size_t{1} << 50, {.ladder = Ladder::Only(PageBacking::k1GiB)}).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "hugepages-1048576kB/nr_hugepages by")) << status;
}

TEST(PageArenaHugePagesTest, ReportsRegionByRegionWhatItStandsOn) {
  const auto reservation = HugePageReservation::Take(kTwoMiB, 2);
  if (!reservation.ok()) GTEST_SKIP() << reservation.status().message();
  const uint64_t available = ReadHugePagePool(kTwoMiB)->available();
  auto registry = io::FixedBufferRegistry::Create({}).value();
  // One region more than there are huge pages for.
  const auto arena = PageArena::Create(
      registry.get(), {.size_bytes = (available + 1) * kTwoMiB, .region_bytes = kTwoMiB});
  ASSERT_TRUE(arena.ok()) << arena.status();
  const ArenaReport report = (*arena)->Report();
  ASSERT_EQ(report.regions.size(), available + 1);
  for (uint64_t i = 0; i < available; ++i) {
    EXPECT_EQ(report.regions[i].mapping.got, PageBacking::k2MiB);
  }
  EXPECT_NE(report.regions.back().mapping.got, PageBacking::k2MiB);
  EXPECT_TRUE(absl::StrContains(report.ToString(), "raise vm.nr_hugepages by 1"))
      << report.ToString();

  const absl::Status required =
      PageArena::Create(registry.get(), {.size_bytes = (available + 1) * kTwoMiB,
                                         .ladder = Ladder::Only(PageBacking::k2MiB),
                                         .region_bytes = kTwoMiB})
          .status();
  EXPECT_TRUE(absl::IsResourceExhausted(required)) << required;
  EXPECT_EQ(registry->region_count(), available + 1);
}

}  // namespace
}  // namespace fixpool::arena
