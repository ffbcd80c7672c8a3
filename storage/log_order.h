#ifndef FIXPOOL_STORAGE_LOG_ORDER_H_
#define FIXPOOL_STORAGE_LOG_ORDER_H_

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "absl/status/status.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/lsn.h"
#include "fixpool/storage/retry_pause.h"
#include "fixpool/storage/write_ahead_log.h"

namespace fixpool::storage {

// How far a cache's log is known to be durable, and which pages wait for more of it.
//
//   if (!order.Allows(lsn)) order.Want(lsn);      // not written now; under the lock
//   ...
//   EnsureLog(state, order.wanted(), deadline);   // without it: see ensure_log.h
//
// Without a log everything is allowed.
// Threads: Allows, NextLsn and InHook any; all else under the cache's lock.
class LogOrder {
 public:
  explicit LogOrder(WriteAheadLog* log) : log_(log) {}
  LogOrder(const LogOrder&) = delete;
  LogOrder& operator=(const LogOrder&) = delete;

  bool has_log() const { return log_ != nullptr; }
  bool Allows(Lsn lsn) const {
    return log_ == nullptr || ToInt(lsn) <= durable_.load(std::memory_order_acquire);
  }
  // Asks the log; kNone: there is none.
  Lsn NextLsn() const { return log_ == nullptr ? Lsn::kNone : log_->NextLsn(); }

  // Some page waits for the log to be durable up to `lsn`.
  void Want(Lsn lsn) { wanted_ = std::max(wanted_, lsn); }
  Lsn wanted() const { return wanted_; }
  bool wants() const { return !Allows(wanted_); }

  // One who calls the log: false, somebody else is at it.
  bool BeginCall();
  void EndCall(Lsn lsn, const absl::Status& status, int64_t now_ns);
  bool called() const { return called_; }
  // The call itself, with no lock held, by who has begun it.
  absl::Status Call(Lsn lsn);
  // After a call that failed: not asked again for an eviction or in the background before this
  // time. The pause doubles with each failure and ends with a success.
  int64_t retry_at_ns() const { return pause_.until_ns(); }
  // Of the last call.
  const absl::Status& error() const { return error_; }

  // Whether this thread is inside of EnsureDurable of some cache's log.
  static bool InHook();

 private:
  WriteAheadLog* const log_;
  std::atomic<uint64_t> durable_{0};
  Lsn wanted_ = Lsn::kNone;
  bool called_ = false;
  RetryPause pause_{10'000'000, 1'000'000'000};
  absl::Status error_;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_LOG_ORDER_H_
