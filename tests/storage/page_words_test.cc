#include "fixpool/storage/page_words.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include <atomic>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "tests/support/child_process.h"
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

// Each in both layouts.
class PageWordsTest : public testing::TestWithParam<FileWords::Layout> {
 protected:
  bool flat() const { return GetParam() == FileWords::Layout::kFlatIfPossible; }

  PageWords words_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Layouts, PageWordsTest,
                         testing::Values(FileWords::Layout::kFlatIfPossible,
                                         FileWords::Layout::kTwoLevels),
                         [](const testing::TestParamInfo<FileWords::Layout>& info) {
                           return info.param == FileWords::Layout::kTwoLevels ? "TwoLevels"
                                                                              : "Flat";
                         });

TEST_P(PageWordsTest, FindsNoPageWhereNoneWas) {
  EXPECT_EQ(words_.Find({kFile, 0}).word, nullptr);
  EXPECT_EQ(words_.Find({kFile, 1}).word, nullptr);
  EXPECT_EQ(words_.Find({FileId(PageWords::kMaxFiles, 1), 0}).word, nullptr);
  EXPECT_EQ(words_.Find({FileId(~0u, ~0u), ~uint64_t{0}}).word, nullptr);
  FileWords* const file = *words_.Open(kFile);
  EXPECT_EQ(file->flat_pages() > 0, flat());
  for (const PageNumber page : {PageNumber{0}, PageNumber{1} << 20, FileWords::kFlatPages - 1,
                                FileWords::kFlatPages, std::numeric_limits<PageNumber>::max()}) {
    for (const AtomicPageWord* const word :
         {words_.Find({kFile, page}).word, file->FindAny(page)}) {
      EXPECT_TRUE(word == nullptr || !Load(*word).present()) << page;
    }
  }
}

TEST_P(PageWordsTest, EachPageHasAWordOfItsOwn) {
  FileWords* const file = *words_.Open(kFile);
  const PageNumber last = std::numeric_limits<PageNumber>::max();
  const PageNumber pages[] = {0,
                              1,
                              FileWords::kChunkPages - 1,
                              FileWords::kChunkPages,
                              FileWords::kFlatPages - 1,
                              FileWords::kFlatPages,
                              uint64_t{1} << 51,
                              last};
  for (uint32_t i = 0; i < std::size(pages); ++i) Put(*file, pages[i], i);
  EXPECT_EQ(file->flat_pages(), flat() ? FileWords::kFlatPages : 0);
  for (uint32_t i = 0; i < std::size(pages); ++i) {
    EXPECT_EQ(Load(*file->FindAny(pages[i])).frame(), FrameIndex{i});
    const PageWords::Place found = words_.Find({kFile, pages[i]});
    EXPECT_EQ(found.word, pages[i] < FileWords::kFlatPages ? file->FindAny(pages[i]) : nullptr);
    EXPECT_EQ(found.file->generation, kFile.generation());
    EXPECT_EQ(words_.Find({FileId(PageWords::kMaxFiles + 5, 17), pages[i]}).word, found.word)
        << "a slot beyond the table is another; it is up to the generation, which is never the "
           "same";
  }
}

TEST_P(PageWordsTest, GenerationTellsWhoseTheyAre) {
  FileWords* const file = *words_.Open(kFile);
  EXPECT_EQ(words_.Find({kFile, 3}).file->generation, 17u);
  Put(*file, 3, 1);
  Take(*file, 3);
  const FileEntry* const entry = words_.Find({kFile, 3}).file;
  const uint64_t since = words_.epoch().Now();
  words_.Close(kFile);
  EXPECT_EQ(words_.Find({kFile, 3}).word, nullptr);
  EXPECT_EQ(entry->generation, FileEntry::kNobody);
  EXPECT_FALSE(words_.epoch().Vouches(since));
  FileWords* const next = *words_.Open(FileId(9, 18));
  EXPECT_EQ(next, file) << "spare words are used again";
  Put(*next, 4, 2);
  EXPECT_EQ(words_.Find({FileId(9, 18), 4}).file->generation, 18u);
  EXPECT_FALSE(words_.Find({FileId(9, 18), 4}).file->writable);
  EXPECT_EQ(Load(*next->FindAny(3)), PageWord());
}

// Files grow, and threads may be on their way to the words meanwhile.
TEST_P(PageWordsTest, WordsStayWhereTheyAreWhenAFileGrows) {
  FileWords* const file = *words_.Open(kFile);
  Put(*file, 7, 1);
  const AtomicPageWord* const word = file->FindAny(7);
  for (PageNumber page = 8; page < FileWords::kFlatPages; page *= 4) {
    Put(*file, page, 2);
    ASSERT_EQ(words_.Find({kFile, 7}).word, word);
    ASSERT_EQ(Load(*words_.Find({kFile, page}).word).frame(), FrameIndex{2});
  }
}

// Where there is no address space for the whole range, the rest takes over without being asked.
TEST(PageWordsLimitsTest, DoWithoutAFlatRange) {
  FIXPOOL_IN_CHILD([]() -> std::string {
    const size_t in_use = tests::StatusKib("VmSize") << 10;
    const rlimit limit{.rlim_cur = in_use + (size_t{1} << 30),
                       .rlim_max = in_use + (size_t{1} << 30)};
    if (setrlimit(RLIMIT_AS, &limit) != 0) return "setrlimit(RLIMIT_AS) is refused";
    PageWords words;
    FileWords* const file = *words.Open(kFile);
    EXPECT_EQ(file->flat_pages(), 0u);
    for (const PageNumber page : {PageNumber{0}, PageNumber{1} << 24, FileWords::kFlatPages - 1}) {
      Put(*file, page, 5);
      EXPECT_EQ(Load(*words.Find({kFile, page}).word).frame(), FrameIndex{5}) << page;
    }
    return std::string();
  });
}

// Not the 32 GiB that the range may become, only what is in use of it.
TEST(PageWordsLimitsTest, LockingAllMemoryTakesWhatIsInUse) {
  FIXPOOL_IN_CHILD([]() -> std::string {
    PageWords words;
    FileWords* const file = *words.Open(kFile);
    Put(*file, 5, 1);
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) return "mlockall() is refused";
    const size_t before_kib = tests::StatusKib("VmRSS");
    FileWords* const other = *words.Open(FileId(6, 18));
    Put(*other, 5, 1);
    Put(*other, 1 << 20, 1);
    EXPECT_LT(tests::StatusKib("VmRSS"), before_kib + (64 << 10));
    Take(*file, 5);
    words.Close(kFile);
    EXPECT_EQ(Load(*(*words.Open(FileId(7, 19)))->FindAny(5)), PageWord());
    munlockall();
    return std::string();
  });
}

TEST(PageWordsForkTest, AreNotThereInAForkedChild) {
  PageWords words;
  FileWords* const file = *words.Open(kFile);
  Put(*file, 3, 1);
  const tests::ChildResult result = tests::RunInChild([&words]() -> std::string {
    EXPECT_EQ(words.Find({kFile, 3}).word, nullptr);
    EXPECT_EQ(words.Find({kFile, 0}).word, nullptr);
    return std::string();
  });
  EXPECT_EQ(result.outcome, tests::ChildResult::Outcome::kPassed) << result.reason;
}

TEST(PageWordsDeathTest, CloseWithAPageInMemory) {
  // Not in a forked child, where there are no words.
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  PageWords words;
  Put(**words.Open(kFile), 3, 1);
  EXPECT_DEATH(words.Close(kFile), "with a page in memory");
}

TEST_P(PageWordsTest, ColdStretchesAreGivenBack) {
  FileWords* const file = *words_.Open(kFile);
  constexpr PageNumber kStretches = 10000;
  for (PageNumber i = 0; i < kStretches; ++i) Put(*file, i * FileWords::kStretchPages + i % 512, 1);
  EXPECT_EQ(file->touched_bytes(), kStretches * 4096);
  const uint64_t since = words_.epoch().Now();
  const size_t resident_before = tests::StatusKib("VmRSS");
  for (PageNumber i = 0; i < kStretches; ++i) {
    if (i % 100 != 0) Take(*file, i * FileWords::kStretchPages + i % 512);
  }
  EXPECT_LE(file->touched_bytes(), (kStretches / 100 + FileWords::kColdStretches) * 4096);
  EXPECT_FALSE(words_.epoch().Vouches(since));
  EXPECT_LT(tests::StatusKib("VmRSS") + kStretches * 2, resident_before);
  for (PageNumber i = 0; i < kStretches; i += 100) {
    EXPECT_TRUE(Load(*file->FindAny(i * FileWords::kStretchPages + i % 512)).present());
  }
}

TEST_P(PageWordsTest, StretchThatIsNeededAgainStays) {
  FileWords* const file = *words_.Open(kFile);
  for (PageNumber i = 0; i < 4 * FileWords::kColdStretches; ++i) {
    Put(*file, i * FileWords::kStretchPages, 1);
    Take(*file, i * FileWords::kStretchPages);
    Put(*file, i * FileWords::kStretchPages + 1, 2);
  }
  for (PageNumber i = 0; i < 4 * FileWords::kColdStretches; ++i) {
    EXPECT_EQ(Load(*file->FindAny(i * FileWords::kStretchPages + 1)).frame(), FrameIndex{2});
  }
}

TEST_P(PageWordsTest, AgreesWithAMap) {
  FileWords* const file = *words_.Open(kFile);
  std::mt19937_64 random(tests::Seed());
  std::map<PageNumber, uint32_t> model;
  for (uint32_t step = 0; step < 100000; ++step) {
    const PageNumber page = (random() % 300) * 177 + (random() % 3) * FileWords::kFlatPages;
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
TEST_P(PageWordsTest, NoOtherLifeIsTakenForTheSame) {
  FileWords* const file = *words_.Open(kFile);
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
  while (life.load() == 0 || (word = words_.Find({kFile, 0}).word) == nullptr) {
    std::this_thread::yield();
  }
  uint64_t believed = 0;
  uint64_t same_bits = 0;
  // Until the adversary has had its chances, however busy the machine is.
  for (int i = 0; i < 300000 || words_.epoch().Now() < 2000; ++i) {
    const uint64_t epoch = words_.epoch().Now();
    const PageWord seen = Load(*word);
    if (!seen.readable()) continue;
    const uint64_t first = life.load();
    for (int pause = 0; pause < i % 64; ++pause) (void)Load(*word);
    const uint64_t second = life.load();
    if (!Load(*word).SameLife(seen)) continue;
    ++same_bits;
    if (!words_.epoch().Vouches(epoch)) continue;
    ++believed;
    ASSERT_EQ(first, second);
    ASSERT_NE(first, 0u);
  }
  stop = true;
  adversary.join();
  std::printf("%llu times given back, %llu times the same bits, %llu believed\n",
              static_cast<unsigned long long>(words_.epoch().Now()),
              static_cast<unsigned long long>(same_bits),
              static_cast<unsigned long long>(believed));
}

}  // namespace
}  // namespace fixpool::storage
