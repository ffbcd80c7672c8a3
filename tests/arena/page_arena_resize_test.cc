// A PageArena that grows and shrinks, alone and under load.

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/attributes.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "fixpool/arena/page_arena.h"
#include "fixpool/io/error.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "gtest/gtest.h"
#include "tests/support/address_space.h"
#include "tests/support/fake_buffer_table.h"
#include "tests/support/seed.h"

namespace fixpool::arena {
namespace {

using io::Deadline;
using io::FixedBufferRegistry;
using io::ValidationError;

constexpr size_t kMiB = size_t{1} << 20;
constexpr uint32_t kPageBytes = 4096;

// Looks where a page was, as an optimistic reader does.
ABSL_ATTRIBUTE_NO_SANITIZE_ADDRESS int PeekAt(const std::byte* address) {
  return static_cast<int>(*static_cast<const volatile std::byte*>(address));
}

// Holds pages and gives them up when asked, but for the first `pinned`.
class Holder final : public PageOwner {
 public:
  explicit Holder(PageArena& arena) : arena_(arena) { arena_.AddOwner(this); }
  ~Holder() override { arena_.RemoveOwner(this); }

  void Take(size_t count) {
    std::lock_guard<std::mutex> lock(mutex_);
    for (size_t i = 0; i < count; ++i) pages_.push_back(*arena_.Allocate());
  }
  void Pin(size_t count) {
    std::lock_guard<std::mutex> lock(mutex_);
    pinned_ = count;
  }
  void GiveUpPages(io::RegionId region, Deadline) override {
    std::lock_guard<std::mutex> lock(mutex_);
    ++asked_;
    for (size_t i = pages_.size(); i-- > pinned_;) {
      if (pages_[i].region != region) continue;
      EXPECT_TRUE(arena_.Free(pages_[i]).ok());
      pages_.erase(pages_.begin() + static_cast<ptrdiff_t>(i));
    }
  }
  std::vector<PageHandle> pages() {
    std::lock_guard<std::mutex> lock(mutex_);
    return pages_;
  }
  int asked() {
    std::lock_guard<std::mutex> lock(mutex_);
    return asked_;
  }

 private:
  PageArena& arena_;
  std::mutex mutex_;
  std::vector<PageHandle> pages_;
  size_t pinned_ = 0;
  int asked_ = 0;
};

class PageArenaResizeTest : public ::testing::Test {
 protected:
  // `regions` of 4 MiB.
  std::unique_ptr<PageArena> Make(size_t regions) {
    auto arena = PageArena::Create(registry_.get(), {.size_bytes = regions * 4 * kMiB,
                                                     .region_bytes = 4 * kMiB});
    EXPECT_TRUE(arena.ok()) << arena.status();
    return *std::move(arena);
  }

  const std::unique_ptr<FixedBufferRegistry> registry_ =
      FixedBufferRegistry::Create({.release_timeout = absl::Milliseconds(20)}).value();
};

// ---- Growing ----

TEST_F(PageArenaResizeTest, GrowsByPagesThatAreAsGoodAsTheFirst) {
  const auto arena = Make(1);
  std::vector<PageHandle> pages;
  while (const auto page = arena->TryAllocate()) pages.push_back(*page);
  ASSERT_TRUE(arena->Grow(6 * kMiB).ok());
  EXPECT_EQ(arena->page_count(), 10 * kMiB / kPageBytes);
  EXPECT_EQ(arena->free_count(), 6 * kMiB / kPageBytes);
  EXPECT_EQ(registry_->region_count(), 3u);
  EXPECT_EQ(arena->Report().regions.size(), 3u);
  while (const auto page = arena->TryAllocate()) {
    std::byte* const bytes = arena->AddressOf(*page);
    std::memset(bytes, 1, kPageBytes);
    EXPECT_EQ(registry_->Check(page->region, bytes, kPageBytes), std::nullopt);
    pages.push_back(*page);
  }
  EXPECT_EQ(pages.size(), arena->page_count());
  for (const PageHandle& page : pages) EXPECT_TRUE(arena->Free(page).ok());
}

TEST_F(PageArenaResizeTest, GrowsByAllOrNothing) {
  const auto arena = Make(1);
  tests::FakeBufferTable table;
  ASSERT_TRUE(registry_->Attach(&table).ok());
  table.RefuseWith(EFAULT, 2);
  const absl::Status status = arena->Grow(12 * kMiB);
  EXPECT_EQ(io::ErrnoOf(status), EFAULT) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "region 2: ")) << status;
  EXPECT_EQ(arena->page_count(), 4 * kMiB / kPageBytes);
  EXPECT_EQ(registry_->region_count(), 1u);
  EXPECT_EQ(table.regions().size(), 1u);
  table.RefuseWith(0);
  EXPECT_TRUE(arena->Grow(12 * kMiB).ok());
  EXPECT_EQ(table.regions().size(), 4u);
  ASSERT_TRUE(registry_->Detach(&table).ok());
}

TEST_F(PageArenaResizeTest, CannotGrowByNothingNorBeyondTheRegistry) {
  const auto small = FixedBufferRegistry::Create({.capacity = 2}).value();
  const auto arena =
      PageArena::Create(small.get(), {.size_bytes = kPageBytes, .region_bytes = kPageBytes})
          .value();
  EXPECT_TRUE(absl::IsInvalidArgument(arena->Grow(0)));
  const absl::Status status = arena->Grow(2 * kPageBytes);
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "1 free slots of 2")) << status;
  EXPECT_TRUE(arena->Grow(kPageBytes).ok());
}

// Before any of it is faulted in.
TEST_F(PageArenaResizeTest, CannotGrowBeyondTheMachine) {
  const auto large =
      FixedBufferRegistry::Create({.capacity = FixedBufferRegistry::kMaxRegions}).value();
  const auto arena = PageArena::Create(large.get(), {.size_bytes = kPageBytes}).value();
  const absl::Status status = arena->Grow(size_t{15} << 40);
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "the machine has")) << status;
  EXPECT_EQ(arena->page_count(), 1u);
  EXPECT_EQ(large->region_count(), 1u);
}

// ---- Shrinking ----

TEST_F(PageArenaResizeTest, ShrinksByWholeRegionsAndNeverByTheLast) {
  const auto arena = Make(3);
  for (const size_t too_little : {size_t{0}, size_t{1}, 4 * kMiB - 1}) {
    const auto shrunk = arena->Shrink(too_little, Deadline::Past());
    EXPECT_TRUE(absl::IsInvalidArgument(shrunk.status())) << shrunk.status();
    EXPECT_TRUE(absl::StrContains(shrunk.status().message(), "3 of up to 4 MiB"));
  }
  EXPECT_EQ(arena->Shrink(7 * kMiB, Deadline::Past()).value(), 4 * kMiB);
  EXPECT_EQ(arena->page_count(), 8 * kMiB / kPageBytes);
  EXPECT_EQ(arena->free_count(), arena->page_count());
  EXPECT_EQ(arena->Shrink(SIZE_MAX, Deadline::Past()).value(), 4 * kMiB);
  EXPECT_EQ(registry_->region_count(), 1u);
  EXPECT_TRUE(absl::IsInvalidArgument(arena->Shrink(SIZE_MAX, Deadline::Past()).status()));
  while (arena->TryAllocate().has_value()) {
  }
  EXPECT_EQ(arena->free_count(), 0u);
}

TEST_F(PageArenaResizeTest, TakesTheEmptiestRegions) {
  const auto arena = Make(3);
  std::vector<PageHandle> pages;
  while (const auto page = arena->TryAllocate()) pages.push_back(*page);
  // All of the middle region but one page.
  const io::RegionId middle = pages[1500].region;
  std::vector<PageHandle> left;
  for (const PageHandle& page : pages) {
    if (page.region == middle && !left.empty()) {
      ASSERT_TRUE(arena->Free(page).ok());
    } else if (page.region == middle) {
      left.push_back(page);
    }
  }
  EXPECT_TRUE(absl::IsDeadlineExceeded(arena->Shrink(4 * kMiB, Deadline::Past()).status()));
  ASSERT_TRUE(arena->Free(left[0]).ok());
  EXPECT_EQ(arena->Shrink(4 * kMiB, Deadline::Past()).value(), 4 * kMiB);
  EXPECT_EQ(arena->free_count(), 0u);
}

TEST_F(PageArenaResizeTest, GivesTheMemoryBackAndKeepsTheAddresses) {
  const auto arena = Make(2);
  std::vector<PageHandle> pages;
  while (const auto page = arena->TryAllocate()) pages.push_back(*page);
  std::byte* const bytes = arena->AddressOf(pages.back());
  std::memset(bytes, 7, kPageBytes);
  const io::RegionId region = pages.back().region;
  for (const PageHandle& page : pages) {
    if (page.region == region) {
      ASSERT_TRUE(arena->Free(page).ok());
    }
  }
  EXPECT_GT(tests::VmaAt(bytes)->resident_kib + tests::VmaAt(bytes)->hugetlb_kib, 0u);
  ASSERT_TRUE(arena->Shrink(4 * kMiB, Deadline::Past()).ok());
  const auto vma = tests::VmaAt(bytes);
  ASSERT_TRUE(vma.has_value());
  EXPECT_EQ(vma->permissions, "r--p");
  EXPECT_EQ(vma->resident_kib + vma->hugetlb_kib, 0u);
  EXPECT_EQ(PeekAt(bytes), 0);
  // The next region of that size comes to the same addresses, and old handles stay stale.
  ASSERT_TRUE(arena->Grow(4 * kMiB).ok());
  std::byte* again = nullptr;
  while (const auto page = arena->TryAllocate()) {
    if (arena->AddressOf(*page) == bytes) again = bytes;
    EXPECT_NE(page->region, region);
  }
  EXPECT_EQ(again, bytes);
  EXPECT_EQ(arena->Check(pages.back()), ValidationError::kStaleGeneration);
  const absl::Status freed = arena->Free(pages.back());
  EXPECT_TRUE(absl::IsFailedPrecondition(freed)) << freed;
}

TEST_F(PageArenaResizeTest, OldHandlesStayStaleThroughAnyNumberOfLives) {
  const auto arena = Make(2);
  std::vector<PageHandle> old;
  for (int round = 0; round < 20; ++round) {
    std::vector<PageHandle> pages;
    while (const auto page = arena->TryAllocate()) pages.push_back(*page);
    for (const PageHandle& stale : old) {
      ASSERT_EQ(arena->AddressOf(stale), nullptr);
      ASSERT_EQ(arena->Check(stale), ValidationError::kStaleGeneration);
      ASSERT_FALSE(arena->Free(stale).ok());
    }
    for (const PageHandle& page : pages) ASSERT_TRUE(arena->Free(page).ok());
    old.push_back(pages.back());
    ASSERT_EQ(arena->Shrink(4 * kMiB, Deadline::Past()).value(), 4 * kMiB);
    ASSERT_TRUE(arena->Grow(4 * kMiB).ok());
  }
  EXPECT_EQ(arena->page_count(), 8 * kMiB / kPageBytes);
}

TEST_F(PageArenaResizeTest, AsksTheOwnersOfPages) {
  const auto arena = Make(2);
  Holder holder(*arena);
  holder.Take(arena->page_count());
  EXPECT_EQ(arena->Shrink(4 * kMiB, Deadline::Past()).value(), 4 * kMiB);
  EXPECT_GE(holder.asked(), 1);
  EXPECT_EQ(holder.pages().size(), 4 * kMiB / kPageBytes);
  for (const PageHandle& page : holder.pages()) EXPECT_EQ(arena->Check(page), std::nullopt);
  EXPECT_EQ(arena->free_count(), 0u);
}

TEST_F(PageArenaResizeTest, RestoresServiceAtItsDeadline) {
  const auto arena = Make(2);
  Holder holder(*arena);
  holder.Take(arena->page_count());
  holder.Pin(arena->page_count() - 1);  // one page can go, whichever region it is in
  const Deadline soon = io::Environment::Default()->DeadlineAfter(absl::Milliseconds(20));
  const auto shrunk = arena->Shrink(4 * kMiB, soon);
  EXPECT_TRUE(absl::IsDeadlineExceeded(shrunk.status())) << shrunk.status();
  EXPECT_TRUE(absl::StrContains(shrunk.status().message(), "pages of the 1 regions"))
      << shrunk.status();
  EXPECT_EQ(arena->page_count(), 8 * kMiB / kPageBytes);
  for (const PageHandle& page : holder.pages()) ASSERT_EQ(arena->Check(page), std::nullopt);
  // What was given up meanwhile can be had again.
  EXPECT_EQ(arena->free_count(), arena->page_count() - holder.pages().size());
  for (size_t i = holder.pages().size(); i < arena->page_count(); ++i) {
    EXPECT_TRUE(arena->TryAllocate().has_value());
  }
  EXPECT_FALSE(arena->TryAllocate().has_value());
}

TEST_F(PageArenaResizeTest, TakesPagesFromThreadsThatSleep) {
  const auto arena = Make(2);
  std::atomic<int> step{0};
  std::thread sleeper([&] {
    std::vector<PageHandle> pages;
    while (const auto page = arena->TryAllocate()) pages.push_back(*page);
    for (const PageHandle& page : pages) ASSERT_TRUE(arena->Free(page).ok());
    step.store(1);
    while (step.load() != 2) std::this_thread::yield();
    // Goes on with what is left in its magazine.
    for (int i = 0; i < 1000; ++i) ASSERT_TRUE(arena->Free(*arena->Allocate()).ok());
  });
  while (step.load() != 1) std::this_thread::yield();
  EXPECT_EQ(arena->Shrink(4 * kMiB, Deadline::Past()).value(), 4 * kMiB);
  step.store(2);
  sleeper.join();
  EXPECT_EQ(arena->free_count(), arena->page_count());
}

TEST_F(PageArenaResizeTest, ARegionWithATransferInFlightStays) {
  const auto arena = Make(2);
  std::vector<PageHandle> pages;
  while (const auto page = arena->TryAllocate()) pages.push_back(*page);
  io::RegionLease lease;  // of a transfer whose page was freed too early
  ASSERT_EQ(registry_->TryLease(pages.back().region, arena->AddressOf(pages.back()), kPageBytes,
                                lease),
            std::nullopt);
  for (const PageHandle& page : pages) {
    if (page.region == pages.back().region) {
      ASSERT_TRUE(arena->Free(page).ok());
    }
  }
  const auto shrunk = arena->Shrink(4 * kMiB, Deadline::Past());
  EXPECT_TRUE(absl::IsDeadlineExceeded(shrunk.status())) << shrunk.status();
  EXPECT_EQ(arena->free_count(), 4 * kMiB / kPageBytes);
  EXPECT_EQ(arena->Report().regions.size(), 2u);
  EXPECT_EQ(arena->TryAllocate()->region, pages.back().region);
  lease.End();
}

TEST_F(PageArenaResizeTest, ARegionThatARingKeepsIsLeakedAndSaysSo) {
  const auto arena = Make(2);
  tests::FakeBufferTable table;
  ASSERT_TRUE(registry_->Attach(&table).ok());
  table.RefuseToClear(true);
  const auto shrunk = arena->Shrink(4 * kMiB, Deadline::Past());
  EXPECT_TRUE(absl::IsInternal(shrunk.status())) << shrunk.status();
  EXPECT_EQ(arena->page_count(), 4 * kMiB / kPageBytes);
  EXPECT_EQ(arena->free_count(), arena->page_count());
  table.RefuseToClear(false);
  registry_->Abandon(&table);
}

TEST_F(PageArenaResizeTest, OneThreadAtATimeShrinks) {
  const auto arena = Make(3);
  Holder holder(*arena);
  holder.Take(arena->page_count());
  holder.Pin(arena->page_count());
  std::thread first([&] {
    const auto shrunk = arena->Shrink(4 * kMiB, Deadline::Infinite());
    EXPECT_EQ(shrunk.value(), 4 * kMiB);
  });
  while (holder.asked() == 0) std::this_thread::yield();
  const auto second = arena->Shrink(4 * kMiB, Deadline::Past());
  EXPECT_TRUE(absl::IsFailedPrecondition(second.status())) << second.status();
  holder.Pin(0);
  first.join();
  EXPECT_EQ(arena->Shrink(4 * kMiB, Deadline::Past()).value(), 4 * kMiB);
}

// Threads that allocate, write, check and free all the while. No page has two owners, none
// changes under its owner, and in the end all are there.
TEST_F(PageArenaResizeTest, GrowsAndShrinksUnderLoad) {
  const auto arena = Make(2);
  const uint64_t seed = tests::Seed();
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(seed + t);
      std::vector<std::pair<PageHandle, uint64_t>> held;
      for (uint64_t i = 0; !stop.load(); ++i) {
        if (held.size() < 400 && random() % 16 < 9) {
          const auto page = arena->TryAllocate(kPageBytes << random() % 3);
          if (!page.has_value()) continue;
          const uint64_t tag = t << 56 | i;
          std::memcpy(arena->AddressOf(*page), &tag, sizeof(tag));
          held.emplace_back(*page, tag);
        } else if (!held.empty()) {
          std::swap(held[random() % held.size()], held.back());
          const auto [page, tag] = held.back();
          held.pop_back();
          std::byte* const bytes = arena->AddressOf(page);
          ASSERT_NE(bytes, nullptr);
          ASSERT_EQ(std::memcmp(bytes, &tag, sizeof(tag)), 0);
          ASSERT_TRUE(arena->Free(page).ok());
        }
      }
      for (const auto& [page, tag] : held) ASSERT_TRUE(arena->Free(page).ok());
    });
  }
  int shrunk = 0;
  for (int round = 0; round < 60; ++round) {
    ASSERT_TRUE(arena->Grow(4 * kMiB).ok());
    const Deadline soon = io::Environment::Default()->DeadlineAfter(absl::Milliseconds(100));
    const auto given = arena->Shrink(4 * kMiB, soon);
    ASSERT_TRUE(given.ok() || absl::IsDeadlineExceeded(given.status())) << given.status();
    shrunk += given.ok();
  }
  stop.store(true);
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(shrunk, 0);
  EXPECT_EQ(arena->free_count(), arena->page_count());
  EXPECT_EQ(arena->page_count(), (2 + 60 - static_cast<size_t>(shrunk)) * 4 * kMiB / kPageBytes);
}

}  // namespace
}  // namespace fixpool::arena
