#ifndef FIXPOOL_STORAGE_HIT_COUNTERS_H_
#define FIXPOOL_STORAGE_HIT_COUNTERS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/base/attributes.h"
#include "absl/base/optimization.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/thread_holds.h"

namespace fixpool::storage {

// Counts what happens too often for one shared counter: each of kStripes threads has a cache
// line of its own and adds to it without an atomic read-modify-write; threads beyond share one.
// Exact. Thread-safe.
class HitCounters {
 public:
  void Add() {
    const uint32_t thread = ThreadHolds::ThreadNumberIfKnown();
    if (ABSL_PREDICT_FALSE(thread >= kStripes)) return AddSlowly();
    AddTo(thread);
  }
  uint64_t Sum() const {
    uint64_t sum = shared_.load(std::memory_order_relaxed);
    for (const Stripe& stripe : stripes_) sum += stripe.count.load(std::memory_order_relaxed);
    return sum;
  }

 private:
  static constexpr size_t kStripes = 64;
  struct alignas(ABSL_CACHELINE_SIZE) Stripe {
    std::atomic<uint64_t> count{0};
  };

  void AddTo(uint32_t thread) {
    std::atomic<uint64_t>& mine = stripes_[thread].count;
    mine.store(mine.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  ABSL_ATTRIBUTE_NOINLINE ABSL_ATTRIBUTE_COLD void AddSlowly() {
    const uint32_t thread = ThreadHolds::ThreadNumber();
    if (thread < kStripes) return AddTo(thread);
    shared_.fetch_add(1, std::memory_order_relaxed);
  }

  std::array<Stripe, kStripes> stripes_;
  std::atomic<uint64_t> shared_{0};
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_HIT_COUNTERS_H_
