#include "fixpool/storage/translation.h"

#include <map>
#include <random>

#include "gtest/gtest.h"
#include "tests/support/seed.h"

namespace fixpool::storage {
namespace {

PageId Page(uint64_t number) { return {FileId(number % 3, 1), number}; }

TEST(TranslationTest, FindsWhatWasInserted) {
  Translation translation(4);
  EXPECT_EQ(translation.Find(Page(1)), kNoFrame);
  translation.Insert(Page(1), FrameIndex{3});
  translation.Insert(Page(2), FrameIndex{0});
  EXPECT_EQ(translation.Find(Page(1)), FrameIndex{3});
  EXPECT_EQ(translation.Find(Page(2)), FrameIndex{0});
  EXPECT_EQ(translation.size(), 2u);
  translation.Erase(Page(1));
  EXPECT_EQ(translation.Find(Page(1)), kNoFrame);
  EXPECT_EQ(translation.Find(Page(2)), FrameIndex{0});
}

TEST(TranslationTest, WorksWithOneFrame) {
  Translation translation(1);
  translation.Insert(Page(5), FrameIndex{0});
  EXPECT_EQ(translation.Find(Page(5)), FrameIndex{0});
  EXPECT_EQ(translation.Find(Page(6)), kNoFrame);
  translation.Erase(Page(5));
  translation.Insert(Page(6), FrameIndex{0});
  EXPECT_EQ(translation.Find(Page(6)), FrameIndex{0});
}

TEST(TranslationTest, AgreesWithAMap) {
  constexpr uint32_t kFrames = 50;
  std::mt19937_64 random(tests::Seed());
  Translation translation(kFrames);
  std::map<PageId, FrameIndex> model;
  std::vector<FrameIndex> free;
  for (uint32_t i = 0; i < kFrames; ++i) free.push_back(FrameIndex{i});
  for (int step = 0; step < 20000; ++step) {
    const PageId page = Page(random() % 100);
    const auto found = model.find(page);
    ASSERT_EQ(translation.Find(page), found == model.end() ? kNoFrame : found->second);
    if (found != model.end()) {
      translation.Erase(page);
      free.push_back(found->second);
      model.erase(found);
    } else if (!free.empty()) {
      translation.Insert(page, free.back());
      model[page] = free.back();
      free.pop_back();
    }
    ASSERT_EQ(translation.size(), model.size());
  }
}

TEST(TranslationDeathTest, OneFrameForEachPageAndOnePageForEachFrame) {
  Translation translation(2);
  translation.Insert(Page(1), FrameIndex{0});
  EXPECT_DEATH(translation.Insert(Page(2), FrameIndex{0}), "two pages in one frame");
  EXPECT_DEATH(translation.Insert(Page(1), FrameIndex{1}), "one page in two frames");
  EXPECT_DEATH(translation.Erase(Page(2)), "was not in it");
}

}  // namespace
}  // namespace fixpool::storage
