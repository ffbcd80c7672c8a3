#include "fixpool/storage/page_id.h"

#include <unordered_set>

#include "absl/hash/hash.h"
#include "gtest/gtest.h"

namespace fixpool::storage {
namespace {

TEST(PageIdTest, DefaultFileIdNamesNothing) {
  EXPECT_EQ(FileId().generation(), 0u);
  EXPECT_EQ(FileId().ToString(), "no file");
}

TEST(PageIdTest, EqualityNeedsSlotGenerationAndNumber) {
  const PageId page{FileId(1, 2), 3};
  EXPECT_EQ(page, (PageId{FileId(1, 2), 3}));
  EXPECT_NE(page, (PageId{FileId(1, 3), 3}));
  EXPECT_NE(page, (PageId{FileId(2, 2), 3}));
  EXPECT_NE(page, (PageId{FileId(1, 2), 4}));
}

TEST(PageIdTest, OrdersByFileAndThenByNumber) {
  EXPECT_LT((PageId{FileId(1, 1), 9}), (PageId{FileId(2, 1), 0}));
  EXPECT_LT((PageId{FileId(1, 1), 8}), (PageId{FileId(1, 1), 9}));
}

TEST(PageIdTest, IsHashable) {
  std::unordered_set<PageId> pages;
  for (uint32_t file = 0; file < 10; ++file) {
    for (uint64_t number = 0; number < 100; ++number) pages.insert({FileId(file, 1), number});
  }
  EXPECT_EQ(pages.size(), 1000u);
  EXPECT_EQ(absl::Hash<PageId>()({FileId(1, 1), 7}), absl::Hash<PageId>()({FileId(1, 1), 7}));
  EXPECT_NE(absl::Hash<PageId>()({FileId(1, 1), 7}), absl::Hash<PageId>()({FileId(1, 1), 8}));
}

TEST(PageIdTest, SaysWhatItNames) {
  EXPECT_EQ((PageId{FileId(3, 17), 42}).ToString(), "page 42 of file 3 (generation 17)");
}

}  // namespace
}  // namespace fixpool::storage
