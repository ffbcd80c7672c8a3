#include "fixpool/storage/thread_holds.h"

#include <pthread.h>

#include <algorithm>

#include "fixpool/io/check.h"
#include "fixpool/io/sanitizer.h"

namespace fixpool::storage {
namespace {

// All that were ever made, the newest first. They are kept for ever, for guards may be alive
// whose thread is not; there are as many as there were threads at a time, or a few more. No
// lock, which a forked child might find held for ever.
std::atomic<ThreadHolds*> newest{nullptr};

}  // namespace

constinit thread_local ThreadHolds* ThreadHolds::mine_ = nullptr;
constinit thread_local uint32_t ThreadHolds::my_number_ = ThreadHolds::kNoNumber;

bool ThreadHolds::Empty() const {
  return std::all_of(entries_.begin(), entries_.end(), [](const Entry& entry) {
    return entry.load(std::memory_order_acquire) == nullptr;
  });
}

ThreadHolds& ThreadHolds::Adopt() {
  for (ThreadHolds* old = newest.load(std::memory_order_acquire); old != nullptr;
       old = old->older_) {
    bool in_use = old->in_use_.load(std::memory_order_relaxed);
    if (in_use || !old->in_use_.compare_exchange_strong(in_use, true, std::memory_order_acquire)) {
      continue;
    }
    if (old->Empty()) return *old;
    // Guards of a thread that is gone; they must not count for another.
    old->in_use_.store(false, std::memory_order_release);
  }
  ThreadHolds* head = newest.load(std::memory_order_acquire);
  auto* const made = new ThreadHolds(head == nullptr ? 0 : head->number_ + 1);
  io::sanitizer::LeakedOnPurpose(made);
  made->older_ = head;
  while (!newest.compare_exchange_weak(made->older_, made, std::memory_order_acq_rel)) {
    made->number_ = made->older_->number_ + 1;
  }
  return *made;
}

// A key and not a thread_local with a destructor, which runs before the destructors of some
// who may still drop guards.
void ThreadHolds::GiveUpAtExit() {
  static const pthread_key_t key = [] {
    pthread_key_t made;
    const int error = pthread_key_create(&made, [](void* holds) {
      mine_ = nullptr;
      my_number_ = kNoNumber;
      static_cast<ThreadHolds*>(holds)->in_use_.store(false, std::memory_order_release);
    });
    FIXPOOL_CHECK(error == 0, "this process has used up its pthread keys");
    return made;
  }();
  pthread_setspecific(key, mine_);
}

ThreadHolds& ThreadHolds::First() {
  mine_ = &Adopt();
  my_number_ = mine_->number_;
  GiveUpAtExit();
  return *mine_;
}

ThreadHolds::Entry* ThreadHolds::TookFirst(const void* page) { return First().Take(page); }

ThreadHolds::Entry* ThreadHolds::TakeSlowly(const void* page) {
  for (uint32_t i = 0; i < kEntries; ++i) {
    if (entries_[i].load(std::memory_order_acquire) != nullptr) continue;
    entries_[i].store(page, std::memory_order_relaxed);
    next_ = i ^ 1;
    return &entries_[i];
  }
  return nullptr;
}

uint32_t ThreadHolds::CountOf(const void* page) {
  if (mine_ == nullptr) return 0;
  return static_cast<uint32_t>(std::count_if(
      mine_->entries_.begin(), mine_->entries_.end(),
      [page](const Entry& entry) { return entry.load(std::memory_order_relaxed) == page; }));
}

bool ThreadHolds::Any() { return mine_ != nullptr && !mine_->Empty(); }

}  // namespace fixpool::storage
