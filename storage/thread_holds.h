#ifndef FIXPOOL_STORAGE_THREAD_HOLDS_H_
#define FIXPOOL_STORAGE_THREAD_HOLDS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/base/attributes.h"
#include "absl/base/optimization.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::storage {

// Which pages this thread holds guards of: what it takes to refuse a wait that could only end
// with itself.
//
//   ThreadHolds::Entry* entry = ThreadHolds::Took(&word);    // a guard of the word's page
//   ThreadHolds::CountOf(&word) == 1;
//   ThreadHolds::Dropped(entry);                             // on any thread
//
// A guard counts for the thread that took it until it is dropped, wherever that happens. Of a
// thread's guards kEntries are known at a time; those beyond are not, and count for nobody.
// Two stores a guard, and no atomic read-modify-write. Nothing allocates but a thread's first
// guard.
class ThreadHolds {
 public:
  static constexpr size_t kEntries = 64;
  using Entry = std::atomic<const void*>;

  // Null: all entries are taken.
  static Entry* Took(const void* page) {
    ThreadHolds* const mine = mine_;
    if (ABSL_PREDICT_FALSE(mine == nullptr)) return TookFirst(page);
    return mine->Take(page);
  }
  static void Dropped(Entry* entry) {
    if (entry != nullptr) entry->store(nullptr, std::memory_order_release);
  }

  // How many guards of the page this thread holds; of any page at all.
  static uint32_t CountOf(const void* page);
  static bool Any();

  // A small number that no other living thread has. Numbers are used again.
  static uint32_t ThreadNumber() {
    const ThreadHolds* const mine = mine_;
    return ABSL_PREDICT_TRUE(mine != nullptr) ? mine->number_ : First().number_;
  }
  // The same, or kNoNumber if this thread has not got one yet.
  static constexpr uint32_t kNoNumber = ~uint32_t{0};
  static uint32_t ThreadNumberIfKnown() { return my_number_; }

 private:
  explicit ThreadHolds(uint32_t number) : number_(number) {}
  // One that no living thread has, and no living guard is in.
  static ThreadHolds& Adopt();
  static void GiveUpAtExit();
  bool Empty() const;

  Entry* Take(const void* page) {
    Entry& entry = entries_[next_ % kEntries];
    if (ABSL_PREDICT_FALSE(entry.load(std::memory_order_acquire) != nullptr)) {
      return TakeSlowly(page);
    }
    // The guard that is dropped next is most often the one that was taken last; its entry is
    // found free by the one after next at the latest.
    next_ ^= 1;
    entry.store(page, std::memory_order_relaxed);
    return &entry;
  }

  ABSL_ATTRIBUTE_NOINLINE static ThreadHolds& First();
  ABSL_ATTRIBUTE_NOINLINE static Entry* TookFirst(const void* page);
  ABSL_ATTRIBUTE_NOINLINE Entry* TakeSlowly(const void* page);

  // constinit: no look whether it was initialised, on every access.
  static constinit thread_local ThreadHolds* mine_;
  static constinit thread_local uint32_t my_number_;  // that of mine_

  uint32_t number_;                 // fixed once it is in the list
  std::atomic<bool> in_use_{true};  // by a living thread
  ThreadHolds* older_ = nullptr;    // in the list of all that were ever made
  uint32_t next_ = 0;
  std::array<Entry, kEntries> entries_{};
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_THREAD_HOLDS_H_
