// Pages of several sizes from the same memory.

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "fixpool/arena/page_arena.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "gtest/gtest.h"
#include "tests/support/seed.h"

namespace fixpool::arena {
namespace {

constexpr size_t kKiB = 1024;
constexpr size_t kMiB = 1024 * kKiB;

class PageArenaSizesTest : public ::testing::Test {
 protected:
  std::unique_ptr<PageArena> Make(const PageArena::Options& options) {
    auto arena = PageArena::Create(registry_.get(), options);
    EXPECT_TRUE(arena.ok()) << arena.status();
    return *std::move(arena);
  }

  const std::unique_ptr<io::FixedBufferRegistry> registry_ =
      io::FixedBufferRegistry::Create({}).value();
};

TEST_F(PageArenaSizesTest, RefusesSizesThatAreNone) {
  const auto arena = Make({.size_bytes = 4 * kMiB, .page_bytes = 8192});
  for (const size_t size_bytes : {size_t{0}, size_t{1}, size_t{4096}, size_t{12288}, 2 * kMiB,
                                  SIZE_MAX, kMiB + 1}) {
    const absl::Status status = arena->Allocate(size_bytes).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "8192 times a power of two")) << status;
    EXPECT_EQ(arena->TryAllocate(size_bytes), std::nullopt);
  }
  EXPECT_EQ(arena->free_count(), arena->page_count());
}

TEST_F(PageArenaSizesTest, EverySizeIsAlignedToItselfAndItsOwn) {
  const auto arena = Make({.size_bytes = 4 * kMiB});
  std::vector<std::pair<PageHandle, size_t>> pages;
  for (size_t size_bytes = 4096; size_bytes <= kMiB; size_bytes *= 2) {
    const auto page = arena->Allocate(size_bytes);
    ASSERT_TRUE(page.ok()) << page.status();
    std::byte* const bytes = arena->AddressOf(*page);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(bytes) % size_bytes, 0u);
    EXPECT_EQ(arena->SizeOf(*page), size_bytes);
    EXPECT_EQ(registry_->Check(page->region, bytes, size_bytes), std::nullopt);
    std::memset(bytes, static_cast<int>(pages.size() + 1), size_bytes);
    pages.emplace_back(*page, size_bytes);
  }
  for (size_t i = 0; i < pages.size(); ++i) {
    const auto& [page, size_bytes] = pages[i];
    const std::byte* const bytes = arena->AddressOf(page);
    EXPECT_EQ(bytes[0], static_cast<std::byte>(i + 1));
    EXPECT_EQ(bytes[size_bytes - 1], static_cast<std::byte>(i + 1));
    EXPECT_TRUE(arena->Free(page).ok());
    EXPECT_EQ(arena->SizeOf(page), 0u);
    EXPECT_FALSE(arena->Free(page).ok());
  }
  EXPECT_EQ(arena->free_count(), arena->page_count());
}

TEST_F(PageArenaSizesTest, SaysWhenWhatIsFreeIsInPieces) {
  const auto arena = Make({.size_bytes = 2 * kMiB});
  std::vector<PageHandle> pages;
  while (const auto page = arena->TryAllocate()) pages.push_back(*page);
  for (size_t i = 0; i < pages.size(); i += 2) ASSERT_TRUE(arena->Free(pages[i]).ok());
  const absl::Status status = arena->Allocate(8192).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_TRUE(absl::StrContains(status.message(), "no 8 KiB in one piece")) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "256 of 512 pages of 4 KiB")) << status;
  // It heals as soon as the others go.
  for (size_t i = 1; i < pages.size(); i += 2) ASSERT_TRUE(arena->Free(pages[i]).ok());
  EXPECT_TRUE(arena->Allocate(kMiB).ok());
  EXPECT_TRUE(arena->Allocate(kMiB).ok());
}

TEST_F(PageArenaSizesTest, PagesThatThreadsKeepDoNotStandInTheWayOfALargeOne) {
  const auto arena = Make({.size_bytes = 2 * kMiB});
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(arena->Free(*arena->Allocate()).ok());
  EXPECT_TRUE(arena->Allocate(kMiB).ok());
  EXPECT_TRUE(arena->Allocate(kMiB).ok());
  EXPECT_FALSE(arena->TryAllocate().has_value());
}

// A long random load of all sizes; then all memory is in the largest pages again.
TEST_F(PageArenaSizesTest, FragmentationHeals) {
  const auto arena = Make({.size_bytes = 16 * kMiB, .region_bytes = 4 * kMiB});
  std::mt19937_64 random(tests::Seed());
  std::map<std::byte*, size_t> ranges;  // of live pages, to find those that overlap
  std::vector<PageHandle> live;
  for (int step = 0; step < 60'000; ++step) {
    if (live.empty() || random() % 2 == 0) {
      const size_t size_bytes = 4096u << random() % 9;
      const auto page = arena->TryAllocate(size_bytes);
      if (!page.has_value()) continue;
      std::byte* const bytes = arena->AddressOf(*page);
      const auto [entry, inserted] = ranges.emplace(bytes, size_bytes);
      ASSERT_TRUE(inserted);
      if (entry != ranges.begin()) {
        const auto before = std::prev(entry);
        ASSERT_LE(before->first + before->second, bytes);
      }
      if (const auto after = std::next(entry); after != ranges.end()) {
        ASSERT_LE(bytes + size_bytes, after->first);
      }
      live.push_back(*page);
    } else {
      std::swap(live[random() % live.size()], live.back());
      ranges.erase(arena->AddressOf(live.back()));
      ASSERT_TRUE(arena->Free(live.back()).ok());
      live.pop_back();
    }
  }
  for (const PageHandle& page : live) ASSERT_TRUE(arena->Free(page).ok());
  EXPECT_EQ(arena->free_count(), arena->page_count());
  for (int i = 0; i < 16; ++i) EXPECT_TRUE(arena->TryAllocate(kMiB).has_value()) << i;
}

}  // namespace
}  // namespace fixpool::arena
