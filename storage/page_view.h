#ifndef FIXPOOL_STORAGE_PAGE_VIEW_H_
#define FIXPOOL_STORAGE_PAGE_VIEW_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "absl/base/attributes.h"
#include "absl/base/config.h"
#include "absl/base/optimization.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::storage {

// The bytes of a page that others may be changing meanwhile.
//
//   uint64_t child = view.Load<uint64_t>(16);
//   view.CopyTo(32, key);
//
// What it shows may be from before a change, from after it, or from both, and may not even be
// this page's: a value is worth nothing until the guard has said that it is valid, and must not
// be followed (as a pointer, a length, an index) without a check of its bounds before that.
// Reading itself is always safe: the memory stays readable whatever becomes of the page, and a
// place outside the page reads as zeros.
// Shape: size_bytes() bytes. A value; thread-compatible. Lives no longer than the cache.
class PageView {
 public:
  PageView(const std::byte* data, uint32_t size_bytes) : data_(data), size_bytes_(size_bytes) {}

  uint32_t size_bytes() const { return size_bytes_; }

  // The object whose bytes begin at `offset_bytes`, at any alignment.
  template <typename T>
  T Load(size_t offset_bytes) const {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    constexpr bool kIsWord = sizeof(T) <= 8 && (sizeof(T) & (sizeof(T) - 1)) == 0;
    if (kIsWord && ABSL_PREDICT_TRUE(offset_bytes % sizeof(T) == 0 && size_bytes_ > 0 &&
                                     offset_bytes <= size_bytes_ - sizeof(T))) {
      LoadWord<sizeof(T)>(data_ + offset_bytes, &value);
      return value;
    }
    CopyTo(offset_bytes, std::as_writable_bytes(std::span<T, 1>(&value, 1)));
    return value;
  }

  // out.size() bytes from `offset_bytes` on.
  void CopyTo(size_t offset_bytes, std::span<std::byte> out) const {
    if (ABSL_PREDICT_FALSE(offset_bytes > size_bytes_ || out.size() > size_bytes_ - offset_bytes)) {
      std::memset(out.data(), 0, out.size());
      return;
    }
    Copy(data_ + offset_bytes, out.data(), out.size());
  }

 private:
  // Not AddressSanitizer's business either: the page may be nobody's by now, and is readable.
  template <size_t kBytes>
  ABSL_ATTRIBUTE_NO_SANITIZE_ADDRESS ABSL_ATTRIBUTE_NO_SANITIZE_THREAD static void LoadWord(
      const std::byte* from, void* to) {
    using Word =
        std::conditional_t<kBytes == 8, uint64_t,
                           std::conditional_t<kBytes == 4, uint32_t,
                                              std::conditional_t<kBytes == 2, uint16_t, uint8_t>>>;
#ifdef ABSL_HAVE_THREAD_SANITIZER
    // It looks at atomic loads all the same, and on its machines every load is an acquire.
    const Word word = *reinterpret_cast<const volatile Word*>(from);
#else
    const Word word = __atomic_load_n(reinterpret_cast<const Word*>(from), __ATOMIC_ACQUIRE);
#endif
    __builtin_memcpy(to, &word, kBytes);
  }

  // Acquire loads, so that the look at the page's word comes after them. Word by word where it
  // can be, so that what one store wrote is seen in one piece.
  template <typename Word>
  ABSL_ATTRIBUTE_NO_SANITIZE_THREAD static void CopyWord(const std::byte*& from, std::byte*& to,
                                                         size_t& size_bytes) {
    LoadWord<sizeof(Word)>(from, to);
    from += sizeof(Word);
    to += sizeof(Word);
    size_bytes -= sizeof(Word);
  }
  // To ThreadSanitizer this is a race, and would be one if anybody used the result before the
  // guard said that nobody has written.
  ABSL_ATTRIBUTE_NO_SANITIZE_THREAD static void Copy(const std::byte* from, std::byte* to,
                                                     size_t size_bytes) {
    while (size_bytes > 0 && reinterpret_cast<uintptr_t>(from) % 8 != 0) {
      CopyWord<uint8_t>(from, to, size_bytes);
    }
    while (size_bytes >= 8) CopyWord<uint64_t>(from, to, size_bytes);
    while (size_bytes > 0) CopyWord<uint8_t>(from, to, size_bytes);
  }

  const std::byte* data_;
  uint32_t size_bytes_;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_PAGE_VIEW_H_
