// Mappings on hugetlb pages, which a test must first have the machine set aside.

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "fixpool/arena/huge_page_settings.h"
#include "fixpool/arena/mapping.h"
#include "fixpool/arena/page_arena.h"
#include "fixpool/io/error.h"
#include "fixpool/io/fixed_buffer_registry.h"
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

TEST(MappingHugePagesTest, StandsOnGiBPagesWhereTheyCanBeHad) {
  const auto reservation = HugePageReservation::Take(kGiB, 1);
  if (!reservation.ok()) GTEST_SKIP() << reservation.status().message();
  const auto mapping = Mapping::Create(kGiB);
  ASSERT_TRUE(mapping.ok()) << mapping.status();
  ExpectStandsOn(PageBacking::k1GiB, **mapping);
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
