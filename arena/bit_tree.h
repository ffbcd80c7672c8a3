#ifndef FIXPOOL_ARENA_BIT_TREE_H_
#define FIXPOOL_ARENA_BIT_TREE_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "fixpool/io/require_cpp20.h"

namespace fixpool::arena {

// A set of small numbers that finds its lowest member in a few steps.
//
//   BitTree set(1 << 18);
//   set.Insert(7);
//   set.First();        // 7
//
// Shape: numbers below `capacity`, a bit for each; above every 64 bits one that says whether
// any of them is set, and so on: 3 words are looked at for 2^18 numbers. First() is always the
// lowest member, so low numbers fill first and high ones have a chance to become empty.
// Memory: capacity / 8 bytes and a 63rd more. Nothing is allocated after construction.
// Threads: thread-compatible.
class BitTree {
 public:
  explicit BitTree(uint32_t capacity) : capacity_(capacity) {
    uint32_t count = capacity;
    do {
      count = (count + 63) / 64;
      levels_.emplace_back(count, uint64_t{0});
    } while (count > 1);
  }

  // All of these require number < capacity, but for Contains.
  void Insert(uint32_t number) {
    for (std::vector<uint64_t>& level : levels_) {
      uint64_t& word = level[number / 64];
      const bool was_empty = word == 0;
      word |= uint64_t{1} << (number % 64);
      if (!was_empty) return;
      number /= 64;
    }
  }

  void Remove(uint32_t number) {
    for (std::vector<uint64_t>& level : levels_) {
      uint64_t& word = level[number / 64];
      word &= ~(uint64_t{1} << (number % 64));
      if (word != 0) return;
      number /= 64;
    }
  }

  bool Contains(uint32_t number) const {
    return number < capacity_ && (levels_[0][number / 64] >> (number % 64) & 1) != 0;
  }

  bool empty() const { return capacity_ == 0 || levels_.back()[0] == 0; }

  // The lowest member; nullopt if there is none.
  std::optional<uint32_t> First() const {
    if (empty()) return std::nullopt;
    uint32_t number = 0;
    for (size_t i = levels_.size(); i-- > 0;) {
      number = number * 64 + static_cast<uint32_t>(std::countr_zero(levels_[i][number]));
    }
    return number;
  }

  size_t size_bytes() const {
    size_t words = 0;
    for (const std::vector<uint64_t>& level : levels_) words += level.size();
    return words * sizeof(uint64_t);
  }

 private:
  uint32_t capacity_;
  std::vector<std::vector<uint64_t>> levels_;  // the numbers' own bits first
};

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_BIT_TREE_H_
