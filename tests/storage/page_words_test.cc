#include "fixpool/storage/page_words.h"

#include <atomic>
#include <limits>
#include <map>
#include <random>
#include <thread>

#include "gtest/gtest.h"
#include "tests/support/process_memory.h"
#include "tests/support/seed.h"

namespace fixpool::storage {
namespace {

constexpr FileId kFile(5, 17);

// Puts the page in a frame, or takes it out.
void Put(FileWords& file, PageNumber page, uint32_t frame) {
  AtomicPageWord* const word = *file.FindOrMake(page);
  word->store(PageWord::Make(FrameIndex{frame}, 0, false, false, Load(*word).version()).bits());
  file.CountIn(page);
}

void Take(FileWords& file, PageNumber page) {
  AtomicPageWord* const word = file.FindAny(page);
  word->store(PageWord::Absent(Load(*word).version() + 1).bits());
  file.CountOut(page);
}

TEST(PageWordsTest, FindsNothingWhereNothingWasMade) {
  PageWords words;
  EXPECT_EQ(words.Find({kFile, 0}).file, nullptr);
  EXPECT_EQ(words.Find({FileId(PageWords::kMaxFiles, 1), 0}).file, nullptr);
  EXPECT_EQ(words.Find({FileId(~0u, ~0u), ~uint64_t{0}}).word, nullptr);
  FileWords* const file = *words.Open(kFile);
  EXPECT_EQ(words.Find({kFile, 0}).file, file);
  for (const PageNumber page : {PageNumber{0}, FileWords::kNearPages - 1, FileWords::kNearPages,
                                std::numeric_limits<PageNumber>::max()}) {
    EXPECT_EQ(words.Find({kFile, page}).word, nullptr) << page;
    EXPECT_EQ(file->FindAny(page), nullptr) << page;
  }
}

TEST(PageWordsTest, EachPageHasAWordOfItsOwn) {
  PageWords words;
  FileWords* const file = *words.Open(kFile);
  const PageNumber last = std::numeric_limits<PageNumber>::max();
  const PageNumber pages[] = {0,
                              1,
                              FileWords::kChunkPages - 1,
                              FileWords::kChunkPages,
                              FileWords::kNearPages - 1,
                              FileWords::kNearPages,
                              uint64_t{1} << 51,
                              last};
  for (uint32_t i = 0; i < std::size(pages); ++i) Put(*file, pages[i], i);
  for (uint32_t i = 0; i < std::size(pages); ++i) {
    EXPECT_EQ(Load(*file->FindAny(pages[i])).frame(), FrameIndex{i});
    const AtomicPageWord* const found = words.Find({kFile, pages[i]}).word;
    EXPECT_EQ(found, pages[i] < FileWords::kNearPages ? file->FindAny(pages[i]) : nullptr);
  }
}

TEST(PageWordsTest, GenerationTellsWhoseTheyAre) {
  PageWords words;
  FileWords* const file = *words.Open(kFile);
  EXPECT_EQ(file->generation(), 17u);
  Put(*file, 3, 1);
  Take(*file, 3);
  const uint64_t since = words.epoch().Now();
  words.Close(kFile);
  EXPECT_EQ(words.Find({kFile, 3}).file, nullptr);
  EXPECT_EQ(file->generation(), 0u);
  EXPECT_FALSE(words.epoch().Vouches(since));
  FileWords* const next = *words.Open(FileId(9, 18));
  EXPECT_EQ(next, file) << "spare words are used again";
  EXPECT_EQ(next->generation(), 18u);
  EXPECT_FALSE(next->writable());
  EXPECT_EQ(Load(*next->FindAny(3)), PageWord());
}

TEST(PageWordsDeathTest, CloseWithAPageInMemory) {
  PageWords words;
  Put(**words.Open(kFile), 3, 1);
  EXPECT_DEATH(words.Close(kFile), "with a page in memory");
}

TEST(PageWordsTest, ColdStretchesAreGivenBack) {
  PageWords words;
  FileWords* const file = *words.Open(kFile);
  constexpr PageNumber kStretches = 10000;
  for (PageNumber i = 0; i < kStretches; ++i) Put(*file, i * FileWords::kStretchPages + i % 512, 1);
  EXPECT_EQ(file->touched_bytes(), kStretches * 4096);
  const uint64_t since = words.epoch().Now();
  const size_t resident_before = tests::StatusKib("VmRSS");
  for (PageNumber i = 0; i < kStretches; ++i) {
    if (i % 100 != 0) Take(*file, i * FileWords::kStretchPages + i % 512);
  }
  EXPECT_LE(file->touched_bytes(), (kStretches / 100 + FileWords::kColdStretches) * 4096);
  EXPECT_FALSE(words.epoch().Vouches(since));
  EXPECT_LT(tests::StatusKib("VmRSS") + kStretches * 2, resident_before);
  for (PageNumber i = 0; i < kStretches; i += 100) {
    EXPECT_TRUE(Load(*file->FindAny(i * FileWords::kStretchPages + i % 512)).present());
  }
}

TEST(PageWordsTest, StretchThatIsNeededAgainStays) {
  PageWords words;
  FileWords* const file = *words.Open(kFile);
  for (PageNumber i = 0; i < 4 * FileWords::kColdStretches; ++i) {
    Put(*file, i * FileWords::kStretchPages, 1);
    Take(*file, i * FileWords::kStretchPages);
    Put(*file, i * FileWords::kStretchPages + 1, 2);
  }
  for (PageNumber i = 0; i < 4 * FileWords::kColdStretches; ++i) {
    EXPECT_EQ(Load(*file->FindAny(i * FileWords::kStretchPages + 1)).frame(), FrameIndex{2});
  }
}

TEST(PageWordsTest, AgreesWithAMap) {
  PageWords words;
  FileWords* const file = *words.Open(kFile);
  std::mt19937_64 random(tests::Seed());
  std::map<PageNumber, uint32_t> model;
  for (uint32_t step = 0; step < 100000; ++step) {
    const PageNumber page = (random() % 300) * 177 + (random() % 3) * FileWords::kNearPages;
    const auto found = model.find(page);
    const AtomicPageWord* const word = file->FindAny(page);
    ASSERT_EQ(word != nullptr && Load(*word).present(), found != model.end());
    if (found == model.end()) {
      Put(*file, page, step);
      model[page] = step;
      continue;
    }
    ASSERT_EQ(Load(*word).frame(), FrameIndex{found->second});
    Take(*file, page);
    model.erase(found);
  }
}

// The adversary: one thread makes words and gives them back as fast as it can, always with the
// same frame and, because the words begin anew, with the same versions. Another remembers a
// word and believes it later if nothing seems to have changed. Page and life are in what the
// "frame" holds.
TEST(PageWordsTest, NoOtherLifeIsTakenForTheSame) {
  PageWords words;
  FileWords* const file = *words.Open(kFile);
  std::atomic<uint64_t> life{0};  // of page 0, while it is in memory
  std::atomic<bool> stop{false};
  std::thread adversary([&] {
    uint64_t lives = 0;
    while (!stop.load()) {
      ++lives;
      life.store(lives);
      Put(*file, 0, 1);
      Take(*file, 0);
      life.store(0);
      for (uint64_t i = 1; i <= FileWords::kColdStretches; ++i) {
        Put(*file, i * FileWords::kStretchPages, 2);
        Take(*file, i * FileWords::kStretchPages);
      }
    }
  });
  AtomicPageWord* word = nullptr;
  while ((word = file->Find(0)) == nullptr) std::this_thread::yield();
  uint64_t believed = 0;
  uint64_t same_bits = 0;
  for (int i = 0; i < 300000; ++i) {
    const uint64_t epoch = words.epoch().Now();
    const PageWord seen = Load(*word);
    if (!seen.readable()) continue;
    const uint64_t first = life.load();
    for (int pause = 0; pause < i % 64; ++pause) (void)Load(*word);
    const uint64_t second = life.load();
    if (!Load(*word).SameLife(seen)) continue;
    ++same_bits;
    if (!words.epoch().Vouches(epoch)) continue;
    ++believed;
    ASSERT_EQ(first, second);
    ASSERT_NE(first, 0u);
  }
  stop = true;
  adversary.join();
  std::printf("%llu lives, %llu times the same bits, %llu believed\n",
              static_cast<unsigned long long>(words.epoch().Now() / 2),
              static_cast<unsigned long long>(same_bits),
              static_cast<unsigned long long>(believed));
}

}  // namespace
}  // namespace fixpool::storage
