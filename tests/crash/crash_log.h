#ifndef FIXPOOL_TESTS_CRASH_CRASH_LOG_H_
#define FIXPOOL_TESTS_CRASH_CRASH_LOG_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "fixpool/io/mutex.h"
#include "fixpool/storage/lsn.h"
#include "fixpool/storage/write_ahead_log.h"
#include "tests/crash/log_record.h"
#include "tests/crash/raw_file.h"

namespace fixpool::tests {

// The write-ahead log of the crash test's writer: segments "log.N", of which those before the last
// checkpoint are removed.
//
//   auto log = CrashLog::Create({.directory = directory, .segment = 7, .last = Lsn{120}});
//   Lsn lsn = (*log)->Append(record.Encode());   // 121; in memory
//   (*log)->EnsureDurable(lsn);                  // in the file, and synced
//   (*log)->Rotate();                            // what follows goes to log.8
//
// Shape: a record's LSN is the number of its transaction.
// Errors: those of the system calls. After one that may have lost something (a write or a sync that
// failed) every later call returns it: a log cannot know what of it is on the disk.
// Thread-safe; but nobody appends while Rotate is at work.
class CrashLog : public storage::WriteAheadLog {
 public:
  struct Options {
    std::string directory;
    uint64_t segment = 0;                     // to begin with
    storage::Lsn last = storage::Lsn::kNone;  // of the records in segments before it
  };
  static absl::StatusOr<std::unique_ptr<CrashLog>> Create(const Options& options);

  storage::Lsn Append(absl::string_view record);
  absl::Status EnsureDurable(storage::Lsn lsn) override;
  storage::Lsn NextLsn() override;
  // All that was appended before is durable when the next segment begins. Returns its number.
  absl::StatusOr<uint64_t> Rotate();

  // The records of `segment` and those after it, up to the first that is not whole, and the number
  // of the last segment that there is a file of. DataLoss: a transaction is missing in between.
  struct Contents {
    std::vector<LogRecord> records;
    uint64_t last_segment = 0;
  };
  static absl::StatusOr<Contents> Read(const std::string& directory, uint64_t segment);
  static absl::Status RemoveBefore(const std::string& directory, uint64_t segment);

 private:
  explicit CrashLog(const Options& options)
      : directory_(options.directory),
        appended_(storage::ToInt(options.last)),
        durable_(storage::ToInt(options.last)) {}
  absl::Status Open(uint64_t segment) ABSL_EXCLUSIVE_LOCKS_REQUIRED(file_mutex_);
  absl::Status Write() ABSL_EXCLUSIVE_LOCKS_REQUIRED(file_mutex_);

  const std::string directory_;

  io::Mutex file_mutex_;  // for as long as the disk takes
  std::unique_ptr<RawFile> file_ ABSL_GUARDED_BY(file_mutex_);
  uint64_t segment_ ABSL_GUARDED_BY(file_mutex_) = 0;
  absl::Status error_ ABSL_GUARDED_BY(file_mutex_);

  io::Mutex mutex_;  // taken after file_mutex_, and for moments only
  std::string pending_ ABSL_GUARDED_BY(mutex_);

  std::atomic<uint64_t> appended_;  // the last LSN; NextLsn must not wait
  std::atomic<uint64_t> durable_;
};

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_CRASH_CRASH_LOG_H_
