// Handles of any bit pattern, from a seed.

#include <memory>
#include <random>
#include <unordered_set>
#include <utility>
#include <vector>

#include "fixpool/arena/page_arena.h"
#include "fixpool/io/error.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "gtest/gtest.h"
#include "tests/support/seed.h"

namespace fixpool::arena {
namespace {

class Forger {
 public:
  Forger(uint64_t seed, std::vector<PageHandle> known) : random_(seed), known_(std::move(known)) {}

  // Each part random, or that of some real handle, or a little off it.
  PageHandle Forge() {
    PageHandle forged;
    forged.region = io::RegionId::FromBits(Mix(Some().region.bits(), random_()));
    forged.page_index = static_cast<uint32_t>(Mix(Some().page_index, random_()));
    forged.generation = static_cast<uint32_t>(Mix(Some().generation, random_()));
    return forged;
  }

 private:
  const PageHandle& Some() { return known_[random_() % known_.size()]; }
  uint64_t Mix(uint64_t real, uint64_t noise) {
    switch (random_() % 6) {
      case 0:
        return noise;
      case 1:
        return real ^ (uint64_t{1} << (noise % 64));
      case 2:
        return real + noise % 5 - 2;
      default:
        return real;
    }
  }

  std::mt19937_64 random_;
  const std::vector<PageHandle> known_;
};

TEST(PageArenaForgeryTest, NoBitPatternDoesHarm) {
  const auto registry = io::FixedBufferRegistry::Create({}).value();
  const auto arena =
      PageArena::Create(registry.get(), {.size_bytes = 20 * 4096, .region_bytes = 6 * 4096})
          .value();
  std::vector<PageHandle> known;
  std::unordered_set<PageHandle> live;
  for (int i = 0; i < 30; ++i) {
    const PageHandle page = *arena->Allocate();
    known.push_back(page);
    if (i % 2 == 0) {
      live.insert(page);
    } else {
      ASSERT_TRUE(arena->Free(page).ok());
    }
  }
  Forger forger(tests::Seed(), known);
  int accepted = 0;
  for (int i = 0; i < 300000; ++i) {
    const PageHandle forged = forger.Forge();
    const bool is_live = live.contains(forged);
    ASSERT_EQ(arena->AddressOf(forged) != nullptr, is_live) << forged.ToString();
    ASSERT_EQ(arena->Check(forged).has_value(), !is_live) << forged.ToString();
    if (is_live) {
      ++accepted;
      continue;
    }
    const absl::Status freed = arena->Free(forged);
    ASSERT_FALSE(freed.ok()) << forged.ToString();
    ASSERT_TRUE(io::ValidationErrorOf(freed).has_value()) << freed;
  }
  // The forger comes close enough to the truth to hit it now and then.
  EXPECT_GT(accepted, 0);
  EXPECT_EQ(arena->free_count(), 20 - live.size());
  for (const PageHandle& page : live) EXPECT_TRUE(arena->Free(page).ok());
}

}  // namespace
}  // namespace fixpool::arena
