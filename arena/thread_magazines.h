#ifndef FIXPOOL_ARENA_THREAD_MAGAZINES_H_
#define FIXPOOL_ARENA_THREAD_MAGAZINES_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/base/optimization.h"
#include "absl/base/thread_annotations.h"
#include "fixpool/arena/magazine.h"
#include "fixpool/io/mutex.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::arena {

// The magazines of one arena, and which thread has which.
//
//   ThreadMagazines magazines(64, [&](Magazine& magazine) { ... take its pages back ... });
//   if (Magazine* mine = magazines.Mine()) mine->Push(shape, 0, page);
//
// Shape: `count` magazines, made at once; a thread gets one when it first asks and keeps it
// until it exits, or, since it remembers no more than four arenas at a time, until it has used
// four others. Threads that come when there is none left do without.
// Ownership: a magazine that is given up is emptied through `empty` first, on the thread that
// had it. Destruction takes all magazines away from their threads, without `empty`; no thread
// may be inside Mine() or use what it returned.
// Threads: thread-safe. Mine() is wait-free, but for a thread's first call.
class ThreadMagazines {
 public:
  ThreadMagazines(size_t count, std::function<void(Magazine&)> empty);
  ~ThreadMagazines();
  ThreadMagazines(const ThreadMagazines&) = delete;
  ThreadMagazines& operator=(const ThreadMagazines&) = delete;

  // The calling thread's, or nullptr.
  Magazine* Mine() {
    const Entry& entry = entries_[serial_ % kEntries];
    return ABSL_PREDICT_TRUE(entry.serial == serial_) ? entry.magazine : MineSlow();
  }

  // All that were ever in use.
  template <typename Visit>
  void ForEach(Visit visit) {
    const size_t count = used_.load(std::memory_order_acquire);
    for (size_t i = 0; i < count; ++i) visit(magazines_[i]);
  }

 private:
  // What a thread remembers of one arena. Arenas are known by a number that is never used again
  // and not by address, which may be another's next time.
  struct Entry {
    uint64_t serial = 0;
    Magazine* magazine = nullptr;
  };
  static constexpr size_t kEntries = 4;

  static void GiveUp(Entry& entry);
  // Sees to it that the calling thread gives its magazines up when it exits.
  static void WatchForExit();
  Magazine* MineSlow();

  // constinit: no look whether they were initialised, on every access.
  static constinit thread_local std::array<Entry, kEntries> entries_;
  static constinit thread_local bool exiting_;

  const uint64_t serial_;
  const size_t count_;
  const std::function<void(Magazine&)> empty_;
  const std::unique_ptr<Magazine[]> magazines_;
  std::atomic<size_t> used_{0};
  io::Mutex mutex_;
  std::vector<Magazine*> spare_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_THREAD_MAGAZINES_H_
