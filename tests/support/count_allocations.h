#ifndef FIXPOOL_TESTS_SUPPORT_COUNT_ALLOCATIONS_H_
#define FIXPOOL_TESTS_SUPPORT_COUNT_ALLOCATIONS_H_

#include <atomic>
#include <cstddef>
#include <cstdlib>

#include "fixpool/io/sanitizer.h"

// Counts every allocation of the program in `allocations`, where FIXPOOL_COUNTS_ALLOCATIONS is
// defined. Replaces malloc() and the like: for the one source file of a test.

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

#endif  // FIXPOOL_TESTS_SUPPORT_COUNT_ALLOCATIONS_H_
