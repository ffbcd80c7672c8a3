#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/types/span.h"
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

class PageCacheReadManyTest : public FakeCacheTest {
 protected:
  std::vector<absl::StatusOr<ReadGuard>> ReadMany(std::vector<uint64_t> numbers,
                                                  absl::Duration timeout = absl::Seconds(1)) {
    std::vector<PageId> pages;
    for (const uint64_t number : numbers) pages.push_back(Page(number));
    std::vector<absl::StatusOr<ReadGuard>> guards(pages.size());
    count_ = cache().ReadMany(pages, absl::MakeSpan(guards), {.timeout = timeout});
    return guards;
  }

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

TEST_F(PageCacheReadManyTest, NoTimeLeftIsNoTimeForAnyPage) {
  Start(4, 4);
  engine().Hold({.operation = IoOperation::kRead});
  const auto guards = ReadMany({1, 3}, absl::ZeroDuration());
  EXPECT_EQ(count_, 0u);
  for (const auto& guard : guards) {
    EXPECT_EQ(guard.status().code(), absl::StatusCode::kDeadlineExceeded) << guard.status();
  }
  engine().ReleaseAll();
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

// ---- Many looks at once ----

TEST_F(PageCacheReadManyTest, LooksAtThoseThatAreInMemory) {
  Start(40, 100);
  std::vector<PageId> pages;
  for (uint64_t page = 0; page < 40; ++page) {
    pages.push_back(Page(page));
    if (page % 3 != 0) ExpectVersion(page, 0);
  }
  pages.push_back({storage::FileId(9, 9), 1});
  pages.push_back(Page(uint64_t{1} << 40));
  const storage::CacheStats before = cache().Stats();
  cache().PrefetchLines(pages);
  EXPECT_EQ(cache().Stats().hits, before.hits) << "a look of the processor's is no hit";
  std::vector<storage::OptimisticGuard> guards(pages.size());
  cache().TryReadOptimisticMany(pages, absl::MakeSpan(guards));
  for (uint64_t page = 0; page < 40; ++page) {
    ASSERT_EQ(guards[page].has_page(), page % 3 != 0) << page;
    if (!guards[page].has_page()) continue;
    EXPECT_EQ(guards[page].page_id(), Page(page));
    std::string seen(kPageBytes, ' ');
    guards[page].view().CopyTo(0, std::as_writable_bytes(std::span(seen.data(), seen.size())));
    EXPECT_TRUE(seen == PageText(page)) << page;
    EXPECT_TRUE(guards[page].StillValid());
  }
  EXPECT_FALSE(guards[40].has_page());
  EXPECT_FALSE(guards[41].has_page());
  EXPECT_EQ(cache().Stats().hits, before.hits + 26);
  EXPECT_EQ(cache().Stats().misses, before.misses);
  Change(1);
  EXPECT_FALSE(guards[1].StillValid());
  EXPECT_TRUE(guards[2].StillValid());
  cache().TryReadOptimisticMany({}, {});
}

TEST_F(PageCacheReadManyTest, AsManyLooksAsPages) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Start(4, 8);
  const PageId page = Page(1);
  EXPECT_DEATH(cache().TryReadOptimisticMany({&page, 1}, {}), "as many guards as pages");
}

}  // namespace
}  // namespace fixpool::tests
