// That the huge pages of a region that a PageArena gives up are in the machine's pool again.

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "fixpool/arena/huge_page_settings.h"
#include "fixpool/arena/page_arena.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/open_engine.h"
#include "gtest/gtest.h"
#include "tests/support/huge_pages.h"

namespace fixpool::arena {
namespace {

constexpr size_t kTwoMiB = size_t{2} << 20;

TEST(PageArenaHugePagesTest, ShrinkGivesThemBackAndGrowTakesThemAgain) {
  const auto reservation = tests::HugePageReservation::Take(kTwoMiB, 8);
  if (!reservation.ok()) GTEST_SKIP() << reservation.status().message();
  const uint64_t before = ReadHugePagePool(kTwoMiB)->available();
  const auto registry = io::FixedBufferRegistry::Create({}).value();
  // A ring that holds the regions, where this machine has one: what is pinned does not go back.
  const auto engine = io::OpenEngine(registry.get(), {}).value();
  auto arena = PageArena::Create(registry.get(), {.size_bytes = 8 * kTwoMiB,
                                                  .ladder = Ladder::Only(PageBacking::k2MiB),
                                                  .region_bytes = 4 * kTwoMiB})
                   .value();
  const auto available = [] { return ReadHugePagePool(kTwoMiB)->available(); };
  EXPECT_EQ(available(), before - 8);
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(arena->Shrink(4 * kTwoMiB, io::Deadline::Past()).value(), 4 * kTwoMiB);
    EXPECT_EQ(available(), before - 4);
    ASSERT_TRUE(arena->Grow(4 * kTwoMiB).ok());
    EXPECT_EQ(available(), before - 8);
    for (const RegionReport& region : arena->Report().regions) {
      EXPECT_EQ(region.mapping.got, PageBacking::k2MiB);
      EXPECT_EQ(region.mapping.got_bytes, 4 * kTwoMiB);
    }
  }
  // Growth beyond the pool is refused as a whole.
  EXPECT_TRUE(absl::IsResourceExhausted(arena->Grow((before - 8 + 1) * kTwoMiB)));
  EXPECT_EQ(available(), before - 8);
  arena.reset();
  EXPECT_EQ(available(), before);
}

}  // namespace
}  // namespace fixpool::arena
