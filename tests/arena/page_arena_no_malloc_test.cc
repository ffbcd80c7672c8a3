// That a page costs no allocation, shown by counting every one that the program makes.

#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

#include "fixpool/arena/page_arena.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "gtest/gtest.h"
#include "tests/support/count_allocations.h"

namespace fixpool::arena {
namespace {

TEST(PageArenaNoMallocTest, PagesComeAndGoWithoutAllocating) {
#ifndef FIXPOOL_COUNTS_ALLOCATIONS
  GTEST_SKIP() << "a sanitizer's malloc, or a C library's, that cannot be counted";
#endif
  const auto registry = io::FixedBufferRegistry::Create({}).value();
  const auto arena =
      PageArena::Create(registry.get(), {.size_bytes = 100 * 4096, .region_bytes = 7 * 4096})
          .value();
  std::vector<PageHandle> pages(arena->page_count());
  size_t wrong = 0;
  const size_t before = allocations.load();
  for (int round = 0; round < 100; ++round) {
    for (PageHandle& page : pages) page = *arena->Allocate();
    if (arena->TryAllocate().has_value()) ++wrong;
    for (const PageHandle& page : pages) {
      wrong += arena->Check(page).has_value() + !arena->Validate(page).ok() +
               (arena->AddressOf(page) != *arena->Resolve(page));
    }
    for (const PageHandle& page : pages) wrong += !arena->Free(page).ok();
    for (const PageHandle& page : pages) wrong += !arena->Check(page).has_value();
  }
  const size_t after = allocations.load();
  EXPECT_EQ(after - before, 0u);
  EXPECT_EQ(wrong, 0u);
  // The counter counts: an error has a message.
  EXPECT_FALSE(arena->Free(pages[0]).ok());
  EXPECT_GT(allocations.load(), after);
}

}  // namespace
}  // namespace fixpool::arena
