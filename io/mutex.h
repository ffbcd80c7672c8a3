#ifndef FIXPOOL_IO_MUTEX_H_
#define FIXPOOL_IO_MUTEX_H_

#include "fixpool/io/require_cpp20.h"

#include <mutex>

#include "absl/base/thread_annotations.h"

namespace fixpool::io {

// std::mutex with the annotations that clang's -Wthread-safety checks.
//
//   Mutex mutex_;
//   int count_ ABSL_GUARDED_BY(mutex_);
//   { MutexLock lock(mutex_);  ++count_; }
//
// Why not absl::Mutex: a distribution's Abseil is not built with ThreadSanitizer,
// which then sees none of its synchronisation and reports races that are not there.
// Thread-safe, as a mutex is. Not recursive.
class ABSL_LOCKABLE Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mutex_.lock(); }
  void Unlock() ABSL_UNLOCK_FUNCTION() { mutex_.unlock(); }
  // Says to the analysis what it cannot see: in a lambda that runs under the lock.
  void AssertHeld() const ABSL_ASSERT_EXCLUSIVE_LOCK() {}
  bool TryLock() ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) { return mutex_.try_lock(); }

 private:
  std::mutex mutex_;
};

// Holds a Mutex for its own lifetime.
class ABSL_SCOPED_LOCKABLE [[nodiscard]] MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex) : mutex_(mutex) {
    mutex_.Lock();
  }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_MUTEX_H_
