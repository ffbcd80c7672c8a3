#ifndef FIXPOOL_BENCHMARKS_PAGE_SEQUENCE_H_
#define FIXPOOL_BENCHMARKS_PAGE_SEQUENCE_H_

#include <cstdint>

#include "benchmarks/flag_values.h"

namespace fixpool::benchmarks {

// SplitMix64: 64 random bits for two multiplications, 1.3 ns here. absl::InsecureBitGen takes
// 2.4 ns, which would do; but its numbers may change with every release of Abseil, and the
// same seed is to give the same pages everywhere. A value; thread-compatible.
// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
class FastRandom {
 public:
  explicit FastRandom(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t x = (state_ += 0x9E3779B97F4A7C15);
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
    return x ^ (x >> 31);
  }

  // 0 to limit - 1; limit is at least 1. Uneven by no more than limit / 2^64.
  uint64_t Below(uint64_t limit) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(Next()) * limit) >> 64);
  }

 private:
  uint64_t state_;
};

// Which page comes next, and whether it is read or written, for one thread of a run.
//
//   PageSequence sequence({.pattern = Pattern::kRandom, .pages = 2'000'000, .seed = 7});
//   uint64_t page = sequence.NextPage();
//   bool write = sequence.NextIsWrite();
//
// Shape: page numbers 0 to pages - 1. Random: each is equally likely at each step, so
// pages do come again. Sequential: each thread starts at its own even share of the file,
// goes up, and wraps around at the end. The same options give the same sequence.
// Threads: thread-compatible; one for each thread.
class PageSequence {
 public:
  struct Options {
    Pattern pattern = Pattern::kRandom;
    Operation operation = Operation::kRead;
    uint64_t pages = 1;  // at least 1
    uint32_t thread = 0;
    uint32_t threads = 1;
    uint64_t seed = 1;
  };

  explicit PageSequence(const Options& options)
      : options_(options),
        random_(FastRandom(options.seed + options.thread * 0xD1342543DE82EF95).Next()),
        next_(StartOf(options)) {}

  uint64_t NextPage() {
    if (options_.pattern == Pattern::kRandom) return random_.Below(options_.pages);
    const uint64_t page = next_;
    next_ = page + 1 == options_.pages ? 0 : page + 1;
    return page;
  }

  // Mixed: heads or tails.
  bool NextIsWrite() {
    if (options_.operation != Operation::kMixed) return options_.operation == Operation::kWrite;
    return (random_.Next() >> 63) != 0;
  }

 private:
  static uint64_t StartOf(const Options& options) {
    return static_cast<uint64_t>(static_cast<unsigned __int128>(options.pages) * options.thread /
                                 options.threads);
  }

  Options options_;
  FastRandom random_;
  uint64_t next_;
};

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_PAGE_SEQUENCE_H_
