#include "fixpool/storage/thread_holds.h"

#include <set>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace fixpool::storage {
namespace {

constexpr int kPage = 0;
constexpr int kOther = 0;

TEST(ThreadHoldsTest, CountsTheGuardsThatThisThreadTook) {
  EXPECT_FALSE(ThreadHolds::Any());
  ThreadHolds::Entry* const first = ThreadHolds::Took(&kPage);
  ThreadHolds::Entry* const second = ThreadHolds::Took(&kPage);
  ThreadHolds::Entry* const other = ThreadHolds::Took(&kOther);
  EXPECT_EQ(ThreadHolds::CountOf(&kPage), 2u);
  ThreadHolds::Dropped(first);
  EXPECT_EQ(ThreadHolds::CountOf(&kPage), 1u);
  EXPECT_TRUE(ThreadHolds::Any());
  ThreadHolds::Dropped(second);
  ThreadHolds::Dropped(other);
  EXPECT_FALSE(ThreadHolds::Any());
}

TEST(ThreadHoldsTest, GuardDroppedElsewhereDoesNotCountAnyMore) {
  ThreadHolds::Entry* const entry = ThreadHolds::Took(&kPage);
  std::thread([entry] {
    EXPECT_EQ(ThreadHolds::CountOf(&kPage), 0u);
    ThreadHolds::Dropped(entry);
  }).join();
  EXPECT_FALSE(ThreadHolds::Any());
}

TEST(ThreadHoldsTest, KnowsSoManyAndNoMore) {
  std::vector<ThreadHolds::Entry*> entries;
  for (size_t i = 0; i < ThreadHolds::kEntries; ++i) entries.push_back(ThreadHolds::Took(&kPage));
  EXPECT_EQ(ThreadHolds::CountOf(&kPage), ThreadHolds::kEntries);
  EXPECT_EQ(std::set(entries.begin(), entries.end()).size(), ThreadHolds::kEntries);
  EXPECT_EQ(ThreadHolds::Took(&kPage), nullptr);
  ThreadHolds::Dropped(nullptr);
  ThreadHolds::Dropped(entries[17]);
  EXPECT_EQ(ThreadHolds::Took(&kOther), entries[17]);
  for (ThreadHolds::Entry* const entry : entries) ThreadHolds::Dropped(entry);
  EXPECT_FALSE(ThreadHolds::Any());
}

TEST(ThreadHoldsTest, GuardsOfAThreadThatIsGoneCountForNobody) {
  ThreadHolds::Entry* left = nullptr;
  std::thread([&left] { left = ThreadHolds::Took(&kPage); }).join();
  for (int i = 0; i < 3; ++i) {
    std::thread([] {
      ThreadHolds::Dropped(ThreadHolds::Took(&kOther));
      EXPECT_EQ(ThreadHolds::CountOf(&kPage), 0u);
      EXPECT_FALSE(ThreadHolds::Any());
    }).join();
  }
  ThreadHolds::Dropped(left);
}

TEST(ThreadHoldsTest, LivingThreadsHaveDifferentNumbers) {
  const uint32_t mine = ThreadHolds::ThreadNumber();
  EXPECT_EQ(ThreadHolds::ThreadNumber(), mine);
  uint32_t highest = 0;
  for (int i = 0; i < 20; ++i) {
    std::thread([&highest, mine] {
      EXPECT_NE(ThreadHolds::ThreadNumber(), mine);
      highest = std::max(highest, ThreadHolds::ThreadNumber());
    }).join();
  }
  EXPECT_LE(highest, mine + 3);  // numbers of threads that are gone are used again
}

}  // namespace
}  // namespace fixpool::storage
