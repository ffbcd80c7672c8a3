#ifndef FIXPOOL_STORAGE_WRITE_AHEAD_LOG_H_
#define FIXPOOL_STORAGE_WRITE_AHEAD_LOG_H_

#include "absl/status/status.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/lsn.h"

namespace fixpool::storage {

// What a cache has to know of its user's log: no page reaches the disk before the log is durable up
// to the page's LSN (C. Mohan et al., "ARIES", ACM TODS 17/1, 1992, section 1.1).
//
//   class MyLog : public WriteAheadLog { ... };
//   auto cache = PageCache::Create({.log = &my_log});
//   { auto page = (*cache)->Write({file, 42});
//     std::span<std::byte> bytes = page->mutable_bytes();   // first: see NextLsn
//     Lsn lsn = my_log.Append(...);                         // then the record, then the change
//     Change(bytes);
//     page->set_lsn(lsn); }
//
// Ownership: the caller's; outlives the cache.
// Threads: called by any thread of the caller's that uses the cache, and by the cache's own.
class WriteAheadLog {
 public:
  virtual ~WriteAheadLog() = default;

  // OK: all records up to and including that of `lsn` are on stable storage. Any other: they may
  // not be; pages that wait for it stay dirty in memory, it is asked again after a pause, and
  // Flush returns the error. May block; is called with no lock of the cache and no latch held on
  // its behalf, by one thread at a time. Must not call the cache, whose answers are
  // FailedPrecondition meanwhile where they would have to wait.
  virtual absl::Status EnsureDurable(Lsn lsn) = 0;

  // At most the LSN of any record that is appended after this call: where the log ends now. Asked
  // when a page that was clean is about to be changed; what becomes the page's first-dirty LSN.
  // Never Lsn::kNone: a log that counts from 0 adds 1. Must not block, nor call the cache: a latch is
  // held.
  virtual Lsn NextLsn() = 0;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_WRITE_AHEAD_LOG_H_
