#include "fixpool/arena/page_handle.h"

#include <unordered_set>

#include "absl/hash/hash.h"
#include "gtest/gtest.h"

namespace fixpool::arena {
namespace {

PageHandle Handle(uint16_t slot, uint32_t index, uint32_t generation) {
  return {.region = io::RegionId::FromParts(slot, 1, 17),
          .page_index = index,
          .generation = generation};
}

TEST(PageHandleTest, EqualsWhatNamesTheSamePageInTheSameLife) {
  EXPECT_EQ(Handle(3, 5, 7), Handle(3, 5, 7));
  EXPECT_NE(Handle(3, 5, 7), Handle(4, 5, 7));
  EXPECT_NE(Handle(3, 5, 7), Handle(3, 6, 7));
  EXPECT_NE(Handle(3, 5, 7), Handle(3, 5, 9));
}

TEST(PageHandleTest, IsAKeyOfHashTables) {
  std::unordered_set<PageHandle, absl::Hash<PageHandle>> with_abseil;
  std::unordered_set<PageHandle> standard;
  for (uint32_t i = 0; i < 100; ++i) {
    with_abseil.insert(Handle(1, i, 1));
    with_abseil.insert(Handle(1, i, 1));
    standard.insert(Handle(1, i, 1));
    standard.insert(Handle(1, i, 3));
  }
  EXPECT_EQ(with_abseil.size(), 100u);
  EXPECT_EQ(standard.size(), 200u);
}

TEST(PageHandleTest, NamesNothingByDefault) {
  EXPECT_EQ(PageHandle().region, io::RegionId());
  EXPECT_EQ(PageHandle().generation % 2, 0u);
}

TEST(PageHandleTest, SaysWhatItNames) {
  EXPECT_EQ(Handle(3, 5, 7).ToString(),
            "page 5 (generation 7) of region 3 (generation 17, registry 1)");
}

}  // namespace
}  // namespace fixpool::arena
