#include "fixpool/arena/bit_tree.h"

#include <cstdint>
#include <random>
#include <set>

#include "gtest/gtest.h"
#include "tests/support/seed.h"

namespace fixpool::arena {
namespace {

TEST(BitTreeTest, AgreesWithASetWhateverItsCapacity) {
  std::mt19937_64 random(tests::Seed());
  for (const uint32_t capacity : {1u, 2u, 63u, 64u, 65u, 4096u, 4097u, 262144u, 262145u}) {
    BitTree tree(capacity);
    std::set<uint32_t> model;
    EXPECT_TRUE(tree.empty());
    for (int step = 0; step < 20000; ++step) {
      const auto number = static_cast<uint32_t>(random() % capacity);
      // Mostly few members, so that whole branches come and go.
      if (random() % 8 < (model.size() < 5 ? 6u : 2u)) {
        tree.Insert(number);
        model.insert(number);
      } else {
        const uint32_t victim = model.empty() ? number : *model.begin();
        tree.Remove(victim);
        model.erase(victim);
      }
      ASSERT_EQ(tree.empty(), model.empty());
      ASSERT_EQ(tree.Contains(number), model.contains(number));
      const auto first = tree.First();
      ASSERT_EQ(first.has_value(), !model.empty());
      if (first.has_value()) {
        ASSERT_EQ(*first, *model.begin());
      }
    }
  }
}

TEST(BitTreeTest, HoldsNothingBeyondItsCapacity) {
  const BitTree none(0);
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.First(), std::nullopt);
  EXPECT_FALSE(none.Contains(0));
  EXPECT_FALSE(BitTree(64).Contains(64));
}

}  // namespace
}  // namespace fixpool::arena
