#ifndef FIXPOOL_TESTS_CRASH_FAULT_COUNTS_H_
#define FIXPOOL_TESTS_CRASH_FAULT_COUNTS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace fixpool::tests {

// What the crash file system counts.
enum class Counted : uint8_t {
  kReadError,
  kWriteError,
  kShortRead,
  kShortWrite,
  kNoSpace,
  kFailedSync,
  kSync,             // that did what it should
  kPersistedSector,  // became durable though nobody had asked
  kDroppedSector,    // was forgotten by a failed sync
};
inline constexpr size_t kCountedKinds = 9;
inline constexpr std::array<const char*, kCountedKinds> kCountedNames = {
    "read EIO",     "write EIO", "short reads",     "short writes",    "ENOSPC",
    "failed syncs", "syncs",     "sectors unasked", "sectors dropped",
};

// Counters in a file that processes share, so that they outlive one that is killed.
//
//   std::unique_ptr<FaultCounts> counts = FaultCounts::Open(path);   // made if it is not there
//   counts->Add(Counted::kSync);
//
// Ownership: the mapping is the object's, the file the caller's. Thread-safe.
class FaultCounts {
 public:
  // Null: the file cannot be made or mapped; errno says why.
  static std::unique_ptr<FaultCounts> Open(const std::string& path);
  ~FaultCounts();
  FaultCounts(const FaultCounts&) = delete;
  FaultCounts& operator=(const FaultCounts&) = delete;

  void Add(Counted what, uint64_t number = 1) {
    At(what).fetch_add(number, std::memory_order_relaxed);
  }
  uint64_t Get(Counted what) const { return At(what).load(std::memory_order_relaxed); }

 private:
  using Counter = std::atomic<uint64_t>;
  static_assert(Counter::is_always_lock_free, "shared between processes");

  explicit FaultCounts(Counter* counters) : counters_(counters) {}
  Counter& At(Counted what) const { return counters_[static_cast<size_t>(what)]; }

  Counter* const counters_;
};

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_CRASH_FAULT_COUNTS_H_
