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
    if (ABSL_PREDICT_FALSE(entry.serial != serial_)) return MineSlow();
    last_ = entry;
    return entry.magazine;
  }
  // The same if it is at hand: also nullptr on a thread's first call.
  Magazine* MineIfKnown() const {
    if (ABSL_PREDICT_TRUE(last_.serial == serial_)) return last_.magazine;
    const Entry& entry = entries_[serial_ % kEntries];
    return entry.serial == serial_ ? entry.magazine : nullptr;
  }

  // Takes the pages out of all magazines but `mine`, which may be null, and leaves those that had
  // owners closed: what those free from now on is for all to see, until they open theirs again.
  // There was then a moment in which all of these were empty, the same for all. Calls
  // `take(page, order)` for each run. Takes microseconds where other threads are running, unless
  // all are empty or closed to begin with, which it finds out first. Requires the magazines' lock.
  //
  // Where the kernel takes the barrier back that it promised (a filter of system calls that was
  // installed later), what is in other threads' magazines stays there until they next use them.
  template <typename Take>
  void Recall(const MagazineShape& shape, const Magazine* mine, Take take);

  // For Magazine::Open. Requires the magazines' lock.
  Magazine::Barrier barrier() const { return barrier_; }

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

  bool OthersAreEmpty(const Magazine* mine);
  uint64_t PushesOfOthers(const Magazine* mine);
  bool CloseOthers(const Magazine* mine);

  static void GiveUp(Entry& entry);
  // Sees to it that the calling thread gives its magazines up when it exits.
  static void WatchForExit();
  Magazine* MineSlow();

  // constinit: no look whether they were initialised, on every access.
  static constinit thread_local std::array<Entry, kEntries> entries_;
  // The one that Mine() returned last, at an address that needs no looking up.
  static constinit thread_local Entry last_;
  static constinit thread_local bool exiting_;

  const uint64_t serial_;
  const size_t count_;
  const std::function<void(Magazine&)> empty_;
  const std::unique_ptr<Magazine[]> magazines_;
  Magazine::Barrier barrier_;  // guarded by the magazines' lock
  std::atomic<size_t> used_{0};
  io::Mutex mutex_;
  std::vector<Magazine*> spare_ ABSL_GUARDED_BY(mutex_);
};

template <typename Take>
void ThreadMagazines::Recall(const MagazineShape& shape, const Magazine* mine, Take take) {
  if (OthersAreEmpty(mine)) return;
  const bool all_are_outside = CloseOthers(mine);
  ForEach([&](Magazine& magazine) {
    if (&magazine == mine) return;
    if (!all_are_outside && magazine.barrier() == Magazine::Barrier::kThief) return;
    magazine.WaitForOwner();
    magazine.TakeAll(shape, take);
  });
}

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_THREAD_MAGAZINES_H_
