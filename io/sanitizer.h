#ifndef FIXPOOL_IO_SANITIZER_H_
#define FIXPOOL_IO_SANITIZER_H_

#include "fixpool/io/require_cpp20.h"

#include <cstddef>

// What the sanitizers cannot see for themselves: that the kernel reads and writes
// memory, and that a completion happens after its submission. All functions are
// thread-safe and compile to nothing in an ordinary build.

#if defined(__SANITIZE_THREAD__)
#define FIXPOOL_INTERNAL_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FIXPOOL_INTERNAL_TSAN 1
#endif
#endif

#if defined(__SANITIZE_ADDRESS__)
#define FIXPOOL_INTERNAL_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIXPOOL_INTERNAL_ASAN 1
#endif
#endif

#ifdef FIXPOOL_INTERNAL_TSAN
extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void __tsan_read_range(void* address, unsigned long size);
void __tsan_write_range(void* address, unsigned long size);
}
#endif

#ifdef FIXPOOL_INTERNAL_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>
#endif

namespace fixpool::io::sanitizer {

// Everything that this thread did before is visible to whoever calls
// OperationReaped with the same `operation`.
inline void OperationSubmitted([[maybe_unused]] void* operation) {
#ifdef FIXPOOL_INTERNAL_TSAN
  __tsan_release(operation);
#endif
}

inline void OperationReaped([[maybe_unused]] void* operation) {
#ifdef FIXPOOL_INTERNAL_TSAN
  __tsan_acquire(operation);
#endif
}

// liburing maps and unmaps its rings by system calls that ThreadSanitizer does not see, so a
// ring at the addresses of an earlier one, of another thread, would be a race with it.
#ifdef FIXPOOL_INTERNAL_TSAN
inline char unseen_mappings;
#endif
inline void RingMapped() {
#ifdef FIXPOOL_INTERNAL_TSAN
  __tsan_acquire(&unseen_mappings);
#endif
}
inline void RingToBeUnmapped() {
#ifdef FIXPOOL_INTERNAL_TSAN
  __tsan_release(&unseen_mappings);
#endif
}

// The kernel wrote (a read from a file) or read (a write to a file) this memory.
// Called when the operation is reaped: a user of the memory who is not ordered
// after that is a race, and ThreadSanitizer then says so.
inline void KernelWrote([[maybe_unused]] void* data, [[maybe_unused]] size_t size_bytes) {
#ifdef FIXPOOL_INTERNAL_TSAN
  __tsan_write_range(data, size_bytes);
#endif
}

inline void KernelRead([[maybe_unused]] void* data, [[maybe_unused]] size_t size_bytes) {
#ifdef FIXPOOL_INTERNAL_TSAN
  __tsan_read_range(data, size_bytes);
#endif
}

// Memory that nobody may touch until it is unpoisoned (AddressSanitizer only).
inline void Poison([[maybe_unused]] const void* data, [[maybe_unused]] size_t size_bytes) {
#ifdef FIXPOOL_INTERNAL_ASAN
  __asan_poison_memory_region(data, size_bytes);
#endif
}

inline void Unpoison([[maybe_unused]] const void* data, [[maybe_unused]] size_t size_bytes) {
#ifdef FIXPOOL_INTERNAL_ASAN
  __asan_unpoison_memory_region(data, size_bytes);
#endif
}

// `object`, and all that it owns, is never freed, and no leak checker should complain.
inline void LeakedOnPurpose([[maybe_unused]] const void* object) {
#ifdef FIXPOOL_INTERNAL_ASAN
  __lsan_ignore_object(object);
#endif
}

}  // namespace fixpool::io::sanitizer

#endif  // FIXPOOL_IO_SANITIZER_H_
