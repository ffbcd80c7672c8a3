#ifndef FIXPOOL_TESTS_CRASH_WRITER_H_
#define FIXPOOL_TESTS_CRASH_WRITER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/io/mutex.h"
#include "fixpool/storage/page_cache.h"
#include "fixpool/storage/page_guard.h"
#include "tests/crash/crash_log.h"
#include "tests/crash/dice.h"
#include "tests/crash/log_record.h"
#include "tests/crash/transaction.h"

namespace fixpool::tests {

// A small database on a PageCache, whose recovery is what the crash test is about: pages of
// accounts, a log that the cache knows of, checkpoints while transactions go on. A page shows a
// transaction before the log is durable that far; the cache must not write it before.
//
//   auto writer = Writer::Open({.directory = "/mnt", .seed = 7});   // recovers
//   (*writer)->Run([](uint64_t n) { Acknowledge(n); });             // until something fails
//   (*writer)->Verify();                                            // instead: every byte
//
// The directory: "data.db", the pages; "log.N"; "master", which says where recovery begins.
// Ownership: the cache and the log are the writer's. Run has two threads of its own besides the
// caller's: one makes checkpoints, one reads pages and expects them whole.
// Errors: DataLoss: something is there that no crash explains: the test has found a bug. Internal:
// the cache kept it waiting and there is no failure that would explain it: another bug. Any other:
// the file system failed, and the writer stopped before it promised anything more.
class Writer {
 public:
  struct Options {
    std::string directory;
    uint64_t seed = 1;      // of the transactions: the same for all of a file's life
    uint64_t run_seed = 1;  // of this process: size of the cache, when to make checkpoints
    uint64_t page_count = 96;
    // Pages in the log when they change first after a checkpoint. Without them a torn page is
    // fatal.
    bool page_images = true;
    // Asks the cache whether it thinks itself that a checkpoint did what it should. Not where the
    // disk is to show that it did not.
    bool ask_cache = true;
  };
  // How the recovery went.
  struct Recovery {
    uint64_t transactions = 0;  // that are there
    uint64_t replayed = 0;      // of these, from the log
    uint64_t torn_pages = 0;    // on disk, before
  };

  static absl::StatusOr<std::unique_ptr<Writer>> Open(Options options);
  ~Writer();
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  const Recovery& recovery() const { return recovery_; }
  // The level of the cache's engine, for people.
  std::string Describe() const;

  // Transactions one after the other; `acknowledge` when all up to that one are durable.
  absl::Status Run(const std::function<void(uint64_t)>& acknowledge);
  // Whether the pages hold what the transactions made of them, in the cache and, after closing the
  // file, on disk. The writer is good for nothing else afterwards.
  absl::Status Verify();

 private:
  struct Master {
    uint64_t segment = 0;       // recovery begins with it
    uint64_t transactions = 0;  // those before it
    uint64_t checksum = 0;
    uint64_t Checksum() const { return ChecksumOf(this, offsetof(Master, checksum)); }
  };

  explicit Writer(Options options) : options_(std::move(options)), dice_(options_.run_seed) {}
  absl::Status Start();
  absl::StatusOr<std::optional<Master>> ReadMaster() const;
  absl::Status OpenLog(uint64_t segment, uint64_t transactions);
  absl::Status OpenCache();
  absl::Status Format();
  absl::Status Recover(const Master& master);
  absl::Status Replay(const std::vector<LogRecord>& records, uint64_t transactions);
  absl::Status ReplayPage(uint64_t transaction, const LogRecord::Page& page);
  void CountTornPages();

  absl::Status Execute(const Transaction& transaction) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<storage::WriteGuard> WritePage(uint64_t page);
  absl::Status Explained(const absl::Status& late) const;
  LogRecord::Page Change(const Transaction& transaction, const Transaction::Change& change,
                         AccountPage* page) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Checkpoint(bool by_lsn);
  absl::Status WritePagesUpTo(storage::Lsn lsn, bool by_lsn);
  void CheckpointWhenAsked(uint64_t seed);
  void ReadPages(uint64_t seed);
  absl::Status CheckPages(const std::vector<AccountPage>& pages, bool on_disk);
  void Fail(const absl::Status& status);
  absl::Status failure();

  const Options options_;
  Dice dice_;  // of the thread that calls
  std::unique_ptr<CrashLog> log_;
  std::unique_ptr<storage::PageCache> cache_;
  storage::FileId file_;
  Recovery recovery_;

  // Held by each transaction from its first page to its last, and while the log gets a new segment:
  // a page's first change after that is logged whole.
  io::Mutex mutex_;
  uint64_t transactions_ ABSL_GUARDED_BY(mutex_) = 0;
  std::set<uint64_t> logged_whole_ ABSL_GUARDED_BY(mutex_);

  io::Mutex failure_mutex_;
  absl::Status failure_ ABSL_GUARDED_BY(failure_mutex_);
  std::atomic<bool> stop_ = false;
  std::atomic<uint32_t> checkpoints_wanted_ = 0;
};

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_CRASH_WRITER_H_
