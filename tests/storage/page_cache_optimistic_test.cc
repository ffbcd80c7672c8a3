#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "fixpool/storage/page_cache.h"
#include "gtest/gtest.h"
#include "tests/storage/level_fixture.h"

namespace fixpool::tests {
namespace {

using storage::OptimisticGuard;
using storage::PageId;
using storage::ReadGuard;
using storage::WriteGuard;

class PageCacheOptimisticTest : public LevelTest {
 protected:
  // Each word of a page is its number.
  void MakePages(uint64_t count) {
    file_ = *cache().OpenFile(scratch_.File("data.db"), {.create = true});
    for (uint64_t page = 0; page < count; ++page) Fill(page, page);
  }
  void Fill(uint64_t page, uint64_t value) {
    WriteGuard guard = *cache().Write(Page(page));
    const std::span<std::byte> bytes = guard.mutable_bytes();
    for (size_t at = 0; at < bytes.size(); at += 8) std::memcpy(&bytes[at], &value, 8);
  }
};
INSTANTIATE_TEST_SUITE_P(Levels, PageCacheOptimisticTest, AllLevels(), LevelName);

TEST_P(PageCacheOptimisticTest, ValidWhileNobodyWrites) {
  FIXPOOL_START_OR_SKIP(4);
  MakePages(8);
  EXPECT_FALSE(OptimisticGuard().has_page());
  EXPECT_FALSE(OptimisticGuard().StillValid());
  const OptimisticGuard cold = *cache().ReadOptimistic(Page(0));
  const OptimisticGuard warm = *cache().ReadOptimistic(Page(0));
  EXPECT_EQ(cold.view().size_bytes(), kPageBytes);
  EXPECT_EQ(cold.view().Load<uint64_t>(kPageBytes - 8), 0u);
  { const ReadGuard reader = *cache().Read(Page(0)); }
  EXPECT_TRUE(cold.StillValid());
  EXPECT_TRUE(warm.StillValid());
  // A WriteGuard ends it, though nothing was changed.
  { const WriteGuard writer = *cache().Write(Page(0)); }
  EXPECT_FALSE(cold.StillValid());
  EXPECT_TRUE(cache().ReadOptimistic(Page(0))->StillValid());
}

TEST_P(PageCacheOptimisticTest, HoldsNobodyUp) {
  FIXPOOL_START_OR_SKIP(1);
  MakePages(3);
  const OptimisticGuard guard = *cache().ReadOptimistic(Page(0));
  EXPECT_EQ(cache().Stats().pinned_frames, 0u);
  EXPECT_TRUE(cache().Read(Page(1)).ok());
  EXPECT_FALSE(guard.StillValid()) << "its page has left memory";
  (void)guard.view().Load<uint64_t>(0);
  EXPECT_TRUE(cache().Read(Page(0)).ok());
  EXPECT_FALSE(guard.StillValid()) << "the page is back in the same frame, in another life";
}

TEST_P(PageCacheOptimisticTest, FlushLeavesItValid) {
  FIXPOOL_START_OR_SKIP(4);
  MakePages(2);
  const OptimisticGuard guard = *cache().ReadOptimistic(Page(1));
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_TRUE(guard.StillValid());
}

TEST_P(PageCacheOptimisticTest, ClosingTheFileEndsIt) {
  FIXPOOL_START_OR_SKIP(4);
  MakePages(2);
  const OptimisticGuard guard = *cache().ReadOptimistic(Page(1));
  ASSERT_TRUE(cache().CloseFile(file_).ok());
  EXPECT_FALSE(guard.StillValid());
  EXPECT_EQ(cache().ReadOptimistic(Page(1)).status().code(), absl::StatusCode::kNotFound);
  file_ = *cache().OpenFile(scratch_.File("data.db"));
  EXPECT_EQ(cache().ReadOptimistic(Page(1))->view().Load<uint64_t>(0), 1u);
  EXPECT_FALSE(guard.StillValid());
}

TEST_P(PageCacheOptimisticTest, ErrorsAreThoseOfRead) {
  FIXPOOL_START_OR_SKIP(2);
  MakePages(2);
  EXPECT_EQ(cache().ReadOptimistic(Page(2)).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(cache().ReadOptimistic(PageId{}).status().code(), absl::StatusCode::kNotFound);
  const WriteGuard writer = *cache().Write(Page(0));
  EXPECT_EQ(cache().ReadOptimistic(Page(0)).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_P(PageCacheOptimisticTest, PagesBeyondSixteenTebibytes) {
  FIXPOOL_START_OR_SKIP(2);
  file_ = *cache().OpenFile(scratch_.File("data.db"), {.create = true});
  const uint64_t far = (uint64_t{1} << 32) + 5;
  if (const auto made = cache().Make(Page(far)); !made.ok()) {
    GTEST_SKIP() << made.status();
  }
  const OptimisticGuard guard = *cache().ReadOptimistic(Page(far));
  EXPECT_TRUE(guard.StillValid());
  EXPECT_EQ(guard.view().Load<uint64_t>(64), 0u);
  Fill(far, 3);
  EXPECT_FALSE(guard.StillValid());
  EXPECT_EQ(cache().ReadOptimistic(Page(far))->view().Load<uint64_t>(64), 3u);
  ASSERT_TRUE(cache().CloseFile(file_, {.discard_changes = true}).ok());
}

// What a valid look has shown is one page's bytes, all from one moment, while pages change,
// go and come as fast as they can.
TEST_P(PageCacheOptimisticTest, WhatIsValidWasNeverTornNorAnothers) {
  FIXPOOL_START_OR_SKIP(3);
  constexpr uint64_t kPages = 6;
  MakePages(kPages);
  std::atomic<bool> stop{false};
  std::vector<std::thread> writers;
  for (uint64_t id = 0; id < 2; ++id) {
    writers.emplace_back([&, id] {
      for (uint64_t i = id; !stop.load(); ++i) Fill(i % kPages, i % kPages + i * kPages);
    });
  }
  uint64_t valid = 0;
  uint64_t tried = 0;
  std::vector<std::byte> copy(kPageBytes);
  while (valid < 2000 && tried < 2'000'000) {
    const uint64_t page = tried++ % kPages;
    const absl::StatusOr<OptimisticGuard> guard = cache().ReadOptimistic(Page(page));
    ASSERT_TRUE(guard.ok()) << guard.status();
    guard->view().CopyTo(0, copy);
    if (!guard->StillValid()) continue;
    ++valid;
    uint64_t first;
    std::memcpy(&first, copy.data(), 8);
    ASSERT_EQ(first % kPages, page);
    ASSERT_EQ(std::memcmp(copy.data(), &copy[8], kPageBytes - 8), 0) << "torn";
  }
  stop = true;
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(valid, 2000u) << "of " << tried;
}

}  // namespace
}  // namespace fixpool::tests
