#include "fixpool/arena/page_arena.h"

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "fixpool/io/error.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/sanitizer.h"
#include "gtest/gtest.h"
#include "tests/support/address_space.h"
#include "tests/support/fake_buffer_table.h"

namespace fixpool::arena {
namespace {

using io::FixedBufferRegistry;
using io::ValidationError;

constexpr size_t kKiB = 1024;
constexpr size_t kMiB = 1024 * kKiB;
constexpr size_t kGiB = 1024 * kMiB;

class PageArenaTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<PageArena>> Create(const PageArena::Options& options) {
    return PageArena::Create(registry_.get(), options);
  }
  std::unique_ptr<PageArena> Make(const PageArena::Options& options) {
    auto arena = Create(options);
    EXPECT_TRUE(arena.ok()) << arena.status();
    return *std::move(arena);
  }

  const std::unique_ptr<FixedBufferRegistry> registry_ = FixedBufferRegistry::Create({}).value();
};

// ---- Create ----

TEST_F(PageArenaTest, RejectsOptionsOutOfRange) {
  EXPECT_TRUE(absl::IsInvalidArgument(PageArena::Create(nullptr).status()));
  const std::pair<const char*, PageArena::Options> kBad[] = {
      {"size_bytes is 0", {.size_bytes = 0}},
      {"page_bytes 0", {.size_bytes = kMiB, .page_bytes = 0}},
      {"page_bytes 2048", {.size_bytes = kMiB, .page_bytes = 2048}},
      {"page_bytes 12288", {.size_bytes = kMiB, .page_bytes = 12288}},
      {"page_bytes 2097152", {.size_bytes = kMiB, .page_bytes = 2 * kMiB}},
      {"region_bytes 0", {.size_bytes = kMiB, .region_bytes = 0}},
      {"region_bytes 4096", {.size_bytes = kMiB, .page_bytes = 8192, .region_bytes = 4096}},
      {"region_bytes 1073745920", {.size_bytes = kMiB, .region_bytes = kGiB + 4096}},
  };
  for (const auto& [part, options] : kBad) {
    const absl::Status status = Create(options).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << part;
    EXPECT_TRUE(absl::StrContains(status.message(), part)) << status;
  }
  const Ladder none = {.one_gib = RungPolicy::kNever,
                       .two_mib = RungPolicy::kNever,
                       .transparent = RungPolicy::kNever,
                       .four_kib = RungPolicy::kNever};
  EXPECT_TRUE(absl::IsInvalidArgument(Create({.size_bytes = kMiB, .ladder = none}).status()));
  EXPECT_EQ(registry_->region_count(), 0u);
}

TEST_F(PageArenaTest, RoundsItsSizeUpToWholePagesAndHugePages) {
  EXPECT_EQ(Make({.size_bytes = 1})->page_count(), 1u);
  EXPECT_EQ(Make({.size_bytes = 5 * 4096})->page_count(), 5u);
  EXPECT_EQ(Make({.size_bytes = 5 * 4096 + 1})->page_count(), 6u);
  EXPECT_EQ(Make({.size_bytes = 3 * kMiB})->page_count(), 4 * kMiB / 4096);
  EXPECT_EQ(Make({.size_bytes = 3 * kMiB, .page_bytes = kMiB})->page_count(), 4u);
  // Regions of less than a huge page need no rounding to one.
  EXPECT_EQ(Make({.size_bytes = 3 * kMiB, .region_bytes = kMiB})->page_count(), 768u);
}

TEST_F(PageArenaTest, CutsItsMemoryIntoRegions) {
  const auto arena = Make({.size_bytes = 5 * 4096 * 4, .page_bytes = 8192, .region_bytes = 28672});
  // 24 KiB, three pages, is what fits into 28 KiB.
  EXPECT_EQ(arena->page_count(), 10u);
  const ArenaReport report = arena->Report();
  ASSERT_EQ(report.regions.size(), 4u);
  EXPECT_EQ(report.regions[0].size_bytes, 24 * kKiB);
  EXPECT_EQ(report.regions[3].size_bytes, 8 * kKiB);
  EXPECT_EQ(registry_->region_count(), 4u);
}

TEST_F(PageArenaTest, KnowsWhatItsTablesTake) {
  // 8 bytes for the state of each page, and 2 bits for whether it is free.
  const size_t bytes = Make({.size_bytes = 64 * kMiB})->metadata_bytes();
  EXPECT_GE(bytes, 16384 * 8 + 16384 / 4);
  EXPECT_LE(bytes, 16384 * 9);
  EXPECT_LT(Make({.size_bytes = 64 * kMiB, .page_bytes = 65536})->metadata_bytes(), 1024 * 9);
}

TEST_F(PageArenaTest, NeedsFreeSlotsInTheRegistry) {
  const auto small = FixedBufferRegistry::Create({.capacity = 3}).value();
  const auto first = PageArena::Create(small.get(), {.size_bytes = 2 * 4096, .region_bytes = 4096});
  ASSERT_TRUE(first.ok()) << first.status();
  const absl::Status status =
      PageArena::Create(small.get(), {.size_bytes = 2 * 4096, .region_bytes = 4096}).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "2 regions")) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "1 free slots of 3")) << status;
  EXPECT_TRUE(PageArena::Create(small.get(), {.size_bytes = 4096}).ok());
}

TEST_F(PageArenaTest, RefusesMoreThanAnyMachineHas) {
  for (const size_t size_bytes : {SIZE_MAX, SIZE_MAX - kMiB, size_t{1} << 60}) {
    EXPECT_TRUE(absl::IsResourceExhausted(Create({.size_bytes = size_bytes}).status()));
  }
}

TEST_F(PageArenaTest, LeavesNothingBehindWhenARegionCannotBeRegistered) {
  tests::FakeBufferTable table;
  ASSERT_TRUE(registry_->Attach(&table).ok());
  table.RefuseWith(EFAULT, 2);
  const absl::Status status = Create({.size_bytes = 4 * 4096, .region_bytes = 4096}).status();
  EXPECT_EQ(io::ErrnoOf(status), EFAULT) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "PageArena: region 2: ")) << status;
  EXPECT_EQ(registry_->region_count(), 0u);
  EXPECT_TRUE(table.regions().empty());
  ASSERT_TRUE(registry_->Detach(&table).ok());
}

TEST_F(PageArenaTest, PassesOnWhatItsPagesAreRequiredToBe) {
  const absl::Status status =
      Create({.size_bytes = 4096, .ladder = Ladder::Only(PageBacking::k2MiB)}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "4 KiB is no multiple of 2 MiB")) << status;
}

TEST_F(PageArenaTest, PassesOnItsMappingOptions) {
  const auto arena = Make({.size_bytes = 4096, .dont_dump = true});
  EXPECT_TRUE(tests::VmaAt(*arena->Resolve(*arena->Allocate()))->HasFlag("dd"));
}

// ---- Fixed buffers ----

TEST_F(PageArenaTest, RegistersItsRegionsForWholePages) {
  tests::FakeBufferTable table;
  ASSERT_TRUE(registry_->Attach(&table).ok());
  auto arena = Make({.size_bytes = 3 * 4096, .region_bytes = 4096});
  EXPECT_EQ(table.regions().size(), 3u);
  const PageHandle page = *arena->Allocate();
  std::byte* const bytes = arena->AddressOf(page);
  EXPECT_EQ(registry_->Check(page.region, bytes, 4096), std::nullopt);
  EXPECT_EQ(registry_->Check(page.region, bytes, 512), ValidationError::kMisaligned);
  for (const RegionReport& region : arena->Report().regions) {
    EXPECT_TRUE(region.fixed);
    EXPECT_EQ(region.fixed_errno, 0);
  }
  arena.reset();
  EXPECT_TRUE(table.regions().empty());
  EXPECT_EQ(registry_->region_count(), 0u);
  ASSERT_TRUE(registry_->Detach(&table).ok());
}

TEST_F(PageArenaTest, GoesWithoutFixedBuffersAndSaysSo) {
  tests::FakeBufferTable table;
  ASSERT_TRUE(registry_->Attach(&table).ok());
  table.RefuseWith(ENOMEM, 1);
  auto arena = Make({.size_bytes = 2 * 4096, .region_bytes = 4096});
  const ArenaReport report = arena->Report();
  ASSERT_EQ(report.regions.size(), 2u);
  EXPECT_TRUE(report.regions[0].fixed);
  EXPECT_FALSE(report.regions[1].fixed);
  EXPECT_EQ(report.regions[1].fixed_errno, ENOMEM);
  EXPECT_TRUE(
      absl::StrContains(report.ToString(), "1 region of 4 KiB: 4 KiB pages; fixed buffer\n"))
      << report.ToString();
  EXPECT_TRUE(absl::StrContains(report.ToString(), "no fixed buffer (ENOMEM)"))
      << report.ToString();
  // Its pages are as good as the others.
  for (int i = 0; i < 2; ++i) EXPECT_EQ(arena->Check(*arena->Allocate()), std::nullopt);
  arena.reset();
  ASSERT_TRUE(registry_->Detach(&table).ok());
}

TEST_F(PageArenaTest, FailsWithoutFixedBuffersWhereTheyAreRequired) {
  tests::FakeBufferTable table;
  ASSERT_TRUE(registry_->Attach(&table).ok());
  table.RefuseWith(ENOMEM, 1);
  const absl::Status status = Create({.size_bytes = 2 * 4096,
                                      .fixed = FixedBufferRegistry::FixedPolicy::kRequire,
                                      .region_bytes = 4096})
                                  .status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(io::ErrnoOf(status), ENOMEM);
  EXPECT_EQ(registry_->region_count(), 0u);
  EXPECT_TRUE(table.regions().empty());
  ASSERT_TRUE(registry_->Detach(&table).ok());
}

// ---- Pages ----

TEST_F(PageArenaTest, HandsOutEveryPageOnceThenNone) {
  const auto arena = Make({.size_bytes = 7 * 4096, .region_bytes = 2 * 4096});
  EXPECT_EQ(arena->page_bytes(), 4096u);
  EXPECT_EQ(arena->registry(), registry_.get());
  std::unordered_set<std::byte*> addresses;
  for (size_t i = 0; i < 7; ++i) {
    EXPECT_EQ(arena->free_count(), 7 - i);
    const auto page = arena->Allocate();
    ASSERT_TRUE(page.ok()) << page.status();
    std::byte* const bytes = arena->AddressOf(*page);
    ASSERT_NE(bytes, nullptr);
    std::memset(bytes, static_cast<int>(i), 4096);
    EXPECT_TRUE(addresses.insert(bytes).second);
  }
  EXPECT_EQ(arena->free_count(), 0u);
  EXPECT_EQ(arena->TryAllocate(), std::nullopt);
  const absl::Status status = arena->Allocate().status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "all 7 pages of 4 KiB")) << status;
}

TEST_F(PageArenaTest, NoPageLiesInTwoRegions) {
  for (const uint32_t page_bytes : {4096u, 16384u, 1048576u}) {
    for (const size_t pages_in_region : {1u, 2u, 3u}) {
      const auto arena = Make({.size_bytes = 7 * size_t{page_bytes},
                               .page_bytes = page_bytes,
                               .region_bytes = pages_in_region * page_bytes});
      size_t allocated = 0;
      while (const auto page = arena->TryAllocate()) {
        ++allocated;
        std::byte* const bytes = *arena->Resolve(*page);
        EXPECT_EQ(reinterpret_cast<uintptr_t>(bytes) % page_bytes, 0u);
        // The registry is the judge of where a region ends.
        EXPECT_EQ(registry_->Check(page->region, bytes, page_bytes), std::nullopt);
        bytes[0] = bytes[page_bytes - 1] = std::byte{1};
      }
      EXPECT_EQ(allocated, arena->page_count());
      EXPECT_GE(allocated, 7u);
    }
  }
}

TEST_F(PageArenaTest, PagesDoNotOverlap) {
  const auto arena = Make({.size_bytes = 16 * 8192, .page_bytes = 8192, .region_bytes = 5 * 8192});
  std::map<std::byte*, size_t> sorted;
  while (const auto page = arena->TryAllocate()) sorted[arena->AddressOf(*page)] = 8192;
  ASSERT_EQ(sorted.size(), 16u);
  std::byte* end = nullptr;
  for (const auto& [address, size_bytes] : sorted) {
    EXPECT_GE(address, end);
    end = address + size_bytes;
  }
}

TEST_F(PageArenaTest, AFreedPageComesBackUnderANewHandle) {
  const auto arena = Make({.size_bytes = 4096});
  const PageHandle first = *arena->Allocate();
  std::byte* const bytes = arena->AddressOf(first);
  ASSERT_TRUE(arena->Free(first).ok());
  EXPECT_EQ(arena->free_count(), 1u);
  const PageHandle second = *arena->Allocate();
  EXPECT_EQ(arena->AddressOf(second), bytes);
  EXPECT_NE(first, second);
  EXPECT_EQ(arena->Check(first), ValidationError::kStaleGeneration);
  EXPECT_EQ(arena->Check(second), std::nullopt);
}

TEST_F(PageArenaTest, FillsTheFirstRegionsFirst) {
  const auto arena = Make({.size_bytes = 4 * 4096, .region_bytes = 4096});
  std::vector<PageHandle> pages;
  while (const auto page = arena->TryAllocate()) pages.push_back(*page);
  for (const PageHandle& page : {pages[3], pages[1]}) ASSERT_TRUE(arena->Free(page).ok());
  EXPECT_EQ(arena->Allocate()->region, pages[1].region);
  EXPECT_EQ(arena->Allocate()->region, pages[3].region);
}

TEST_F(PageArenaTest, ServesMoreRegionsThanOneWordOfItsSetHolds) {
  const auto large = FixedBufferRegistry::Create({.capacity = 200}).value();
  const auto arena =
      PageArena::Create(large.get(), {.size_bytes = 200 * 4096, .region_bytes = 4096});
  ASSERT_TRUE(arena.ok()) << arena.status();
  std::vector<PageHandle> pages;
  while (const auto page = (*arena)->TryAllocate()) pages.push_back(*page);
  EXPECT_EQ(pages.size(), 200u);
  EXPECT_EQ(pages.back().region.slot(), 199);
  for (const PageHandle& page : pages) EXPECT_TRUE((*arena)->Free(page).ok());
  EXPECT_EQ((*arena)->free_count(), 200u);
}

// ---- Handles that are refused ----

// What all four ways of presenting a handle say of it.
void ExpectRefused(PageArena& arena, PageHandle handle, ValidationError error,
                   absl::StatusCode code) {
  EXPECT_EQ(arena.Check(handle), error) << handle.ToString();
  EXPECT_EQ(arena.AddressOf(handle), nullptr) << handle.ToString();
  for (const absl::Status& status :
       {arena.Validate(handle), arena.Resolve(handle).status(), arena.Free(handle)}) {
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_EQ(io::ValidationErrorOf(status), error) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), handle.ToString())) << status;
  }
}

TEST_F(PageArenaTest, AcceptsALiveHandle) {
  const auto arena = Make({.size_bytes = 4096});
  const PageHandle page = *arena->Allocate();
  EXPECT_EQ(arena->Check(page), std::nullopt);
  EXPECT_TRUE(arena->Validate(page).ok());
  EXPECT_EQ(arena->Resolve(page).value(), arena->AddressOf(page));
  EXPECT_TRUE(arena->Free(page).ok());
}

TEST_F(PageArenaTest, RefusesAPageThatWasFreed) {
  const auto arena = Make({.size_bytes = 2 * 4096});
  const PageHandle page = *arena->Allocate();
  ASSERT_TRUE(arena->Free(page).ok());
  ExpectRefused(*arena, page, ValidationError::kStaleGeneration,
                absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(arena->Validate(page).message(), "generation 2"));
  // In use again, by another.
  const PageHandle next = *arena->Allocate();
  ASSERT_EQ(next.page_index, page.page_index);
  ExpectRefused(*arena, page, ValidationError::kStaleGeneration,
                absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(arena->Check(next), std::nullopt);
  EXPECT_EQ(arena->free_count(), 1u);
}

TEST_F(PageArenaTest, RefusesAPageThatWasNeverAllocated) {
  const auto arena = Make({.size_bytes = 2 * 4096});
  PageHandle page = *arena->Allocate();
  page.page_index = 1;
  for (const uint32_t generation : {0u, 1u, 2u, ~0u}) {
    page.generation = generation;
    ExpectRefused(*arena, page, ValidationError::kStaleGeneration,
                  absl::StatusCode::kFailedPrecondition);
  }
}

TEST_F(PageArenaTest, RefusesAnIndexOutsideItsRegion) {
  const auto arena = Make({.size_bytes = 2 * 4096});
  PageHandle page = *arena->Allocate();
  for (const uint32_t index : {2u, RegionPages::kMaxPages, ~0u}) {
    page.page_index = index;
    ExpectRefused(*arena, page, ValidationError::kOutOfRegion, absl::StatusCode::kOutOfRange);
  }
}

TEST_F(PageArenaTest, RefusesARegionThatNeverWas) {
  const auto arena = Make({.size_bytes = 4096});
  const PageHandle page = *arena->Allocate();
  const io::RegionId id = page.region;
  for (const io::RegionId unknown :
       {io::RegionId(), io::RegionId::kUnregistered,
        io::RegionId::FromParts(id.slot() + 1, id.owner(), id.generation()),
        io::RegionId::FromParts(id.slot(), id.owner(), id.generation() + 1),
        io::RegionId::FromParts(0xfffe, id.owner(), id.generation())}) {
    PageHandle forged = page;
    forged.region = unknown;
    ExpectRefused(*arena, forged, ValidationError::kUnknownRegion, absl::StatusCode::kNotFound);
  }
}

TEST_F(PageArenaTest, RefusesAPageOfAnotherArena) {
  const auto first = Make({.size_bytes = 4096});
  const auto second = Make({.size_bytes = 4096});
  ExpectRefused(*second, *first->Allocate(), ValidationError::kForeignRegistry,
                absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(second->free_count(), 1u);
}

TEST_F(PageArenaTest, RefusesAPageOfAnotherRegistry) {
  const auto other_registry = FixedBufferRegistry::Create({}).value();
  const auto other = PageArena::Create(other_registry.get(), {.size_bytes = 4096}).value();
  const auto arena = Make({.size_bytes = 4096});
  const PageHandle page = *other->Allocate();
  ASSERT_EQ(page.region.slot(), arena->Allocate()->region.slot());
  ExpectRefused(*arena, page, ValidationError::kForeignRegistry,
                absl::StatusCode::kPermissionDenied);
}

TEST_F(PageArenaTest, RefusesAPageWhoseRegionIsGone) {
  auto first = Make({.size_bytes = 4096});
  const PageHandle page = *first->Allocate();
  first.reset();
  EXPECT_EQ(registry_->Check(page.region, nullptr, 0), ValidationError::kStaleGeneration);
  // The slot goes to another arena's region.
  const auto second = Make({.size_bytes = 4096});
  ASSERT_EQ(second->Allocate()->region.slot(), page.region.slot());
  ExpectRefused(*second, page, ValidationError::kStaleGeneration,
                absl::StatusCode::kFailedPrecondition);
}

// ---- Reports and sanitizers ----

TEST_F(PageArenaTest, ReportsInSentences) {
  const auto arena = Make({.size_bytes = 5 * 4096, .region_bytes = 2 * 4096});
  (void)arena->Allocate();
  const ArenaReport report = arena->Report();
  EXPECT_EQ(report.page_bytes, 4096u);
  EXPECT_EQ(report.page_count, 5u);
  EXPECT_EQ(report.free_count, 4u);
  EXPECT_EQ(report.retired_count, 0u);
  EXPECT_EQ(report.ToString(),
            "arena: 5 pages of 4 KiB, 4 free\n"
            "  2 regions of 8 KiB, each on 4 KiB pages; fixed buffer\n"
            "  1 region of 4 KiB: 4 KiB pages; fixed buffer");
}

TEST(ArenaReportTest, CountsRetiredPages) {
  const ArenaReport report{.page_bytes = 8192, .page_count = 9, .retired_count = 2};
  EXPECT_EQ(report.ToString(), "arena: 9 pages of 8 KiB, 0 free, 2 retired");
}

#ifdef FIXPOOL_INTERNAL_ASAN
TEST_F(PageArenaTest, AddressSanitizerSeesAPageUsedAfterItsFree) {
  const auto arena = Make({.size_bytes = 2 * 4096});
  const PageHandle page = *arena->Allocate();
  std::byte* const bytes = arena->AddressOf(page);
  bytes[0] = std::byte{1};
  // Its neighbour was never allocated.
  EXPECT_DEATH(bytes[4096] = std::byte{1}, "use-after-poison");
  ASSERT_TRUE(arena->Free(page).ok());
  EXPECT_DEATH(bytes[0] = std::byte{1}, "use-after-poison");
  ASSERT_TRUE(arena->Allocate().ok());
  bytes[0] = std::byte{1};
}
#endif

TEST_F(PageArenaTest, MemoryThatItHadCanBeUsedByOthers) {
  // Under AddressSanitizer: nothing stays poisoned.
  std::byte* bytes;
  {
    const auto arena = Make({.size_bytes = 4 * kMiB});
    bytes = arena->AddressOf(*arena->Allocate());
  }
  const auto mapping = Mapping::Create(4 * kMiB).value();
  std::memset(mapping->base(), 1, mapping->size_bytes());
  EXPECT_TRUE(bytes != nullptr);
}

}  // namespace
}  // namespace fixpool::arena
