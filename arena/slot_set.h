#ifndef FIXPOOL_ARENA_SLOT_SET_H_
#define FIXPOOL_ARENA_SLOT_SET_H_

#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>
#include <optional>

#include "fixpool/io/require_cpp20.h"

namespace fixpool::arena {

// A set of slot numbers, as one bit each: which regions may have a free page.
//
//   SlotSet set(1024);
//   set.Insert(7);
//   set.First();      // 7
//
// Shape: numbers below `capacity`. First looks at no more than capacity / 64 words, 16 for the
// registry's default and 256 for the most that the kernel takes.
// Threads: thread-safe and wait-free. All operations are sequentially consistent, which those
// who keep it in step with something else build on (see PageArena::TakeReserved).
class SlotSet {
 public:
  explicit SlotSet(uint32_t capacity)
      : word_count_((capacity + 63) / 64),
        words_(std::make_unique<std::atomic<uint64_t>[]>(word_count_)) {}

  // Writes only if the number is not there, so that it costs no cache miss where it mostly is.
  void Insert(uint32_t slot) {
    std::atomic<uint64_t>& word = words_[slot / 64];
    if ((word.load() & Bit(slot)) == 0) word.fetch_or(Bit(slot));
  }

  void Remove(uint32_t slot) { words_[slot / 64].fetch_and(~Bit(slot)); }

  // The lowest number: low regions fill first, and high ones have a chance to become empty.
  std::optional<uint32_t> First() const {
    for (uint32_t i = 0; i < word_count_; ++i) {
      const uint64_t word = words_[i].load();
      if (word != 0) return i * 64 + static_cast<uint32_t>(std::countr_zero(word));
    }
    return std::nullopt;
  }

 private:
  static constexpr uint64_t Bit(uint32_t slot) { return uint64_t{1} << (slot % 64); }

  const uint32_t word_count_;
  const std::unique_ptr<std::atomic<uint64_t>[]> words_;
};

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_SLOT_SET_H_
