// That a page costs no allocation, shown by counting every one that the program makes.

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <vector>

#include "fixpool/arena/page_arena.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/sanitizer.h"
#include "gtest/gtest.h"

// The sanitizers bring a malloc of their own, and musl has no other name for its own.
#if defined(__GLIBC__) && !defined(FIXPOOL_INTERNAL_ASAN) && !defined(FIXPOOL_INTERNAL_TSAN)
#define FIXPOOL_COUNTS_ALLOCATIONS 1
#endif

namespace {
std::atomic<size_t> allocations{0};
}

#ifdef FIXPOOL_COUNTS_ALLOCATIONS
extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* old, size_t size);
void* __libc_memalign(size_t alignment, size_t size);

void* malloc(size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(size);
}
void* calloc(size_t count, size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_calloc(count, size);
}
void* realloc(void* old, size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_realloc(old, size);
}
void* aligned_alloc(size_t alignment, size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_memalign(alignment, size);
}
}
#endif

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
