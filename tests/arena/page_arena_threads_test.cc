// A PageArena in the hands of several threads.

#include <sys/syscall.h>

#include <atomic>
#include <barrier>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fixpool/arena/page_arena.h"
#include "fixpool/io/error.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/process_barrier.h"
#include "gtest/gtest.h"
#include "tests/support/child_process.h"
#include "tests/support/seed.h"

namespace fixpool::arena {
namespace {

constexpr uint32_t kPageBytes = 4096;

class PageArenaThreadsTest : public ::testing::Test {
 protected:
  std::unique_ptr<PageArena> Make(size_t page_count, size_t pages_in_region) {
    auto arena = PageArena::Create(registry_.get(), {.size_bytes = page_count * kPageBytes,
                                                     .region_bytes = pages_in_region * kPageBytes});
    EXPECT_TRUE(arena.ok()) << arena.status();
    return *std::move(arena);
  }

  template <typename Body>
  static void OnThreads(int count, Body body) {
    std::vector<std::thread> threads;
    for (int t = 0; t < count; ++t) threads.emplace_back([t, &body] { body(t); });
    for (std::thread& thread : threads) thread.join();
  }

  const std::unique_ptr<io::FixedBufferRegistry> registry_ =
      io::FixedBufferRegistry::Create({}).value();
};

// Who owns a page, written at both ends of it.
void WriteTag(std::byte* page, uint64_t tag) {
  std::memcpy(page, &tag, sizeof(tag));
  std::memcpy(page + kPageBytes - sizeof(tag), &tag, sizeof(tag));
}
bool HasTag(const std::byte* page, uint64_t tag) {
  return std::memcmp(page, &tag, sizeof(tag)) == 0 &&
         std::memcmp(page + kPageBytes - sizeof(tag), &tag, sizeof(tag)) == 0;
}

TEST_F(PageArenaThreadsTest, EveryPageHasOneOwner) {
  const auto arena = Make(64, 10);
  const uint64_t seed = tests::Seed();
  OnThreads(4, [&](int t) {
    std::mt19937_64 random(seed + static_cast<uint64_t>(t));
    std::vector<std::pair<PageHandle, uint64_t>> held;
    for (uint64_t i = 0; i < 20000; ++i) {
      if (held.size() < 20 && random() % 2 == 0) {
        const auto page = arena->TryAllocate();
        if (!page.has_value()) continue;
        const uint64_t tag = static_cast<uint64_t>(t) << 32 | i;
        WriteTag(arena->AddressOf(*page), tag);
        held.emplace_back(*page, tag);
      } else if (!held.empty()) {
        std::swap(held[random() % held.size()], held.back());
        const auto [page, tag] = held.back();
        held.pop_back();
        std::byte* const bytes = arena->AddressOf(page);
        ASSERT_NE(bytes, nullptr);
        ASSERT_TRUE(HasTag(bytes, tag));
        ASSERT_TRUE(arena->Free(page).ok());
      }
    }
    for (const auto& [page, tag] : held) ASSERT_TRUE(arena->Free(page).ok());
  });
  EXPECT_EQ(arena->free_count(), arena->page_count());
}

// As many pages as threads, each in a region of its own, so that regions become empty and
// full all the time: a thread that holds none must always get one.
TEST_F(PageArenaThreadsTest, NeverRefusesWhileAPageIsFree) {
  constexpr int kThreads = 4;
  for (const size_t pages_in_region : {1u, 2u, 4u}) {
    const auto arena = Make(kThreads, pages_in_region);
    OnThreads(kThreads, [&](int) {
      for (int i = 0; i < 20000; ++i) {
        const auto page = arena->TryAllocate();
        ASSERT_TRUE(page.has_value());
        ASSERT_TRUE(arena->Free(*page).ok());
      }
    });
    EXPECT_EQ(arena->free_count(), arena->page_count());
  }
}

TEST_F(PageArenaThreadsTest, OfTwoThreadsThatFreeAPageOneIsTold) {
  const auto arena = Make(4, 4);
  constexpr int kRounds = 5000;
  std::vector<PageHandle> pages(kRounds);
  std::vector<std::atomic<int>> freed(kRounds);
  std::atomic<int> stale{0};
  std::barrier round(2);
  OnThreads(2, [&](int t) {
    for (int i = 0; i < kRounds; ++i) {
      if (t == 0) pages[i] = *arena->Allocate();
      round.arrive_and_wait();
      const absl::Status status = arena->Free(pages[i]);
      if (status.ok()) {
        freed[i].fetch_add(1);
      } else if (io::ValidationErrorOf(status) == io::ValidationError::kStaleGeneration) {
        stale.fetch_add(1);
      }
      round.arrive_and_wait();
    }
  });
  for (const std::atomic<int>& count : freed) EXPECT_EQ(count.load(), 1);
  EXPECT_EQ(stale.load(), kRounds);
  EXPECT_EQ(arena->free_count(), 4u);
}

// What a thread keeps, it gives back when it exits.
TEST_F(PageArenaThreadsTest, ThreadsThatExitTakeNothingWithThem) {
  const auto arena = Make(2048, 1024);
  for (int round = 0; round < 200; ++round) {
    OnThreads(2, [&](int) {
      std::vector<PageHandle> pages;
      for (int i = 0; i < 100; ++i) pages.push_back(*arena->Allocate());
      for (const PageHandle& page : pages) ASSERT_TRUE(arena->Free(page).ok());
    });
  }
  EXPECT_EQ(arena->free_count(), 2048u);
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(arena->TryAllocate(1 << 20).has_value()) << i;
}

// More threads at a time than there are magazines, and none at all.
TEST_F(PageArenaThreadsTest, ThreadsWithoutAMagazineGetPagesToo) {
  for (const uint32_t magazines : {0u, 1u}) {
    const auto arena = PageArena::Create(
        registry_.get(), {.size_bytes = 64 * kPageBytes, .thread_magazines = magazines});
    ASSERT_TRUE(arena.ok()) << arena.status();
    std::barrier together(4);
    OnThreads(4, [&](int) {
      together.arrive_and_wait();
      for (int i = 0; i < 5000; ++i) {
        const auto page = (*arena)->TryAllocate();
        ASSERT_TRUE(page.has_value());
        ASSERT_TRUE((*arena)->Free(*page).ok());
      }
      together.arrive_and_wait();
    });
    EXPECT_EQ((*arena)->free_count(), 64u);
  }
}

// Magazines in use, emptied again and again: four threads hold and give back pages while a fifth
// asks for more than there are and must be refused only while it has to be.
void TakeBackFromThreads(PageArena& arena) {
  constexpr size_t kEach = 8;
  const size_t all_free_but = 4 * kEach;
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&arena, &stop, t] {
      std::vector<std::pair<PageHandle, uint64_t>> held;
      for (uint64_t i = 1; !stop.load(); ++i) {
        while (held.size() < kEach) {
          const auto page = arena.TryAllocate();
          if (!page.has_value()) break;
          const uint64_t tag = static_cast<uint64_t>(t) << 32 | i;
          WriteTag(arena.AddressOf(*page), tag);
          held.emplace_back(*page, tag);
        }
        for (const auto& [page, tag] : held) {
          EXPECT_TRUE(HasTag(arena.AddressOf(page), tag));
          EXPECT_TRUE(arena.Free(page).ok());
        }
        held.clear();
      }
    });
  }
  for (int round = 0; round < 100; ++round) {
    std::vector<PageHandle> mine;
    while (const auto page = arena.TryAllocate()) mine.push_back(*page);
    EXPECT_GE(mine.size(), arena.page_count() - all_free_but);
    for (const PageHandle& page : mine) EXPECT_TRUE(arena.Free(page).ok());
  }
  stop.store(true);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(arena.free_count(), arena.page_count());
}

TEST_F(PageArenaThreadsTest, TakesBackWhatBusyThreadsKeep) { TakeBackFromThreads(*Make(512, 256)); }

// The same where the kernel has no membarrier(2), and where it refuses it after it promised.
TEST(PageArenaBarrierTest, TakesBackWhatBusyThreadsKeepWithoutMembarrier) {
  FIXPOOL_IN_CHILD([] {
    if (auto why = tests::ForbidSystemCall(SYS_membarrier, EPERM); !why.empty()) return why;
    EXPECT_FALSE(io::ProcessBarrier::Register());
    const auto registry = io::FixedBufferRegistry::Create({}).value();
    TakeBackFromThreads(**PageArena::Create(registry.get(), {.size_bytes = 512 * kPageBytes}));
    return std::string();
  });
}

TEST(PageArenaBarrierTest, LosesNoPageWhenMembarrierIsForbiddenLater) {
  FIXPOOL_IN_CHILD([] {
    const auto registry = io::FixedBufferRegistry::Create({}).value();
    const auto arena = *PageArena::Create(registry.get(), {.size_bytes = 512 * kPageBytes});
    // Of both threads, the one that keeps pages and the one that wants them.
    std::barrier step(2);
    if (auto why = tests::ForbidSystemCall(SYS_membarrier, EPERM); !why.empty()) return why;
    std::thread other([&] {
      EXPECT_TRUE(arena->Free(*arena->TryAllocate()).ok());  // now it keeps some
      step.arrive_and_wait();
      step.arrive_and_wait();
      EXPECT_TRUE(arena->Free(*arena->TryAllocate()).ok());  // finds its magazine closed
      step.arrive_and_wait();
      step.arrive_and_wait();
    });
    step.arrive_and_wait();
    std::vector<PageHandle> mine;
    while (const auto page = arena->TryAllocate()) mine.push_back(*page);
    EXPECT_EQ(mine.size() + arena->free_count(), arena->page_count());
    if (!mine.empty()) {
      EXPECT_TRUE(arena->Free(mine.back()).ok());
      mine.pop_back();
    }
    step.arrive_and_wait();
    step.arrive_and_wait();
    while (const auto page = arena->TryAllocate()) mine.push_back(*page);
    EXPECT_EQ(mine.size(), arena->page_count());
    step.arrive_and_wait();
    other.join();
    return std::string();
  });
}

// One thread and more arenas than it remembers; arenas that go while threads remember them.
TEST_F(PageArenaThreadsTest, AThreadUsesAnyNumberOfArenas) {
  std::vector<std::unique_ptr<PageArena>> arenas;
  for (int i = 0; i < 10; ++i) arenas.push_back(Make(16, 16));
  OnThreads(1, [&](int) {
    for (int round = 0; round < 30; ++round) {
      for (auto& arena : arenas) ASSERT_TRUE(arena->Free(*arena->Allocate()).ok());
      if (round % 3 == 0) arenas[static_cast<size_t>(round) % arenas.size()] = Make(16, 16);
    }
    arenas.resize(5);
  });
  for (const auto& arena : arenas) {
    EXPECT_EQ(arena->free_count(), 16u);
    EXPECT_TRUE(arena->TryAllocate(65536).has_value());
  }
}

// Handles go stale under the reader, who must get the old answer or the new one.
TEST_F(PageArenaThreadsTest, ChecksWhileOthersAllocateAndFree) {
  const auto arena = Make(8, 3);
  std::atomic<uint64_t> published_region{0};
  std::atomic<uint64_t> published_page{0};
  std::atomic<bool> stop{false};
  std::atomic<int> strange{0};
  OnThreads(3, [&](int t) {
    if (t == 0) {
      for (int i = 0; i < 20000; ++i) {
        const PageHandle page = *arena->TryAllocate();
        published_region.store(page.region.bits());
        published_page.store(uint64_t{page.page_index} << 32 | page.generation);
        ASSERT_TRUE(arena->Free(page).ok());
      }
      stop.store(true);
      return;
    }
    while (!stop.load()) {
      const uint64_t bits = published_page.load();
      const PageHandle page{.region = io::RegionId::FromBits(published_region.load()),
                            .page_index = static_cast<uint32_t>(bits >> 32),
                            .generation = static_cast<uint32_t>(bits)};
      const auto error = arena->Check(page);
      // Region and page may be of two pages, so any answer but "another's" can be right.
      if (error == io::ValidationError::kForeignRegistry) strange.fetch_add(1);
    }
  });
  EXPECT_EQ(strange.load(), 0);
}

}  // namespace
}  // namespace fixpool::arena
