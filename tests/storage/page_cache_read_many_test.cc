#include <array>
#include <vector>

#include "absl/strings/match.h"
#include "fixpool/storage/page_cache.h"
#include "gtest/gtest.h"
#include "tests/storage/cache_fixture.h"
#include "tests/support/manual_environment.h"

namespace fixpool::tests {
namespace {

using io::IoOperation;
using storage::PageCache;
using storage::PageId;
using storage::ReadGuard;
using storage::WriteGuard;

class PageCacheReadManyTest : public ::testing::Test {
 protected:
  void Start(uint32_t frames, uint64_t pages) {
    path_ = scratch_.MakeFile("data.db", FileText(pages));
    stack_.emplace(&environment_, frames);
    file_ = *cache().OpenFile(path_);
  }
  PageCache& cache() { return *stack_->cache; }
  FakeEngine& engine() { return *stack_->engine; }
  PageId Page(uint64_t page_number) const { return {file_, page_number}; }
  std::vector<absl::StatusOr<ReadGuard>> ReadMany(std::vector<uint64_t> numbers,
                                                  absl::Duration timeout = absl::Seconds(1)) {
    std::vector<PageId> pages;
    for (const uint64_t number : numbers) pages.push_back(Page(number));
    std::vector<absl::StatusOr<ReadGuard>> guards(pages.size());
    count_ = cache().ReadMany(pages, absl::MakeSpan(guards), {.timeout = timeout});
    return guards;
  }

  ManualEnvironment environment_;
  ScratchDirectory scratch_;
  std::string path_;
  std::optional<FakeStack> stack_;
  storage::FileId file_;
  size_t count_ = 0;
};

TEST_F(PageCacheReadManyTest, ReadsWhatIsMissingSideBySide) {
  Start(8, 8);
  ASSERT_TRUE(cache().Read(Page(3)).ok());
  const auto guards = ReadMany({5, 3, 0, 7});
  ASSERT_EQ(count_, 4u);
  const std::array<uint64_t, 4> numbers = {5, 3, 0, 7};
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(Text(guards[i]->bytes()), PageText(numbers[i]));
  EXPECT_EQ(cache().Stats().prefetches, 3u);
  EXPECT_EQ(cache().Stats().pinned_frames, 4u);
}

TEST_F(PageCacheReadManyTest, NoPagesAreNoWork) {
  Start(2, 2);
  EXPECT_TRUE(ReadMany({}).empty());
  EXPECT_EQ(count_, 0u);
}

TEST_F(PageCacheReadManyTest, SamePageTwiceHasTwoGuardsAndOneRead) {
  Start(4, 4);
  auto guards = ReadMany({1, 1, 2, 1});
  EXPECT_EQ(count_, 4u);
  EXPECT_EQ(cache().Stats().reads, 2u);
  guards[0]->Release();
  guards[1]->Release();
  EXPECT_EQ(cache().Stats().pinned_frames, 2u);
}

TEST_F(PageCacheReadManyTest, EachPageHasItsOwnError) {
  Start(4, 4);
  const auto guards = ReadMany({1, 4, 2});
  EXPECT_EQ(count_, 2u);
  EXPECT_EQ(Text(guards[0]->bytes()), PageText(1));
  EXPECT_EQ(guards[1].status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(Text(guards[2]->bytes()), PageText(2));
}

TEST_F(PageCacheReadManyTest, MorePagesThanFramesIsRefusedAtOnce) {
  Start(2, 4);
  const auto guards = ReadMany({0, 1, 2});
  EXPECT_EQ(count_, 0u);
  for (const auto& guard : guards) {
    EXPECT_EQ(guard.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_TRUE(absl::StrContains(guard.status().message(), "2 frames")) << guard.status();
  }
  EXPECT_EQ(cache().Stats().reads, 0u);
}

TEST_F(PageCacheReadManyTest, AsManyAsThereAreFrames) {
  Start(4, 8);
  { const WriteGuard other = *cache().Write(Page(7)); }
  for (const auto& guard : ReadMany({0, 1, 2, 3})) EXPECT_TRUE(guard.ok()) << guard.status();
}

TEST_F(PageCacheReadManyTest, TimeoutIsForAllTogether) {
  Start(4, 8);
  const ReadGuard first = *cache().Read(Page(6));
  const ReadGuard second = *cache().Read(Page(7));
  const int64_t before_ns = environment_.NowNs();
  const auto guards = ReadMany({0, 1, 2, 3}, absl::Seconds(5));
  EXPECT_EQ(count_, 2u);
  for (size_t i = 2; i < 4; ++i) {
    EXPECT_EQ(guards[i].status().code(), absl::StatusCode::kResourceExhausted);
  }
  EXPECT_EQ(environment_.NowNs() - before_ns, 5'000'000'000);
}

}  // namespace
}  // namespace fixpool::tests
