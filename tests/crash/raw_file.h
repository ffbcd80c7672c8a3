#ifndef FIXPOOL_TESTS_CRASH_RAW_FILE_H_
#define FIXPOOL_TESTS_CRASH_RAW_FILE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace fixpool::tests {

// A file for writing, by the plain system calls: what the crash test's log is written with.
//
//   auto file = RawFile::Create(path);
//   (*file)->Append(bytes);
//   (*file)->Sync();
//
// Errors: those of the system calls, by errno; a transfer that is cut short goes on.
// Ownership: closes the descriptor. Thread-compatible.
class RawFile {
 public:
  // An empty one, whatever was there.
  static absl::StatusOr<std::unique_ptr<RawFile>> Create(const std::string& path);
  ~RawFile();
  RawFile(const RawFile&) = delete;
  RawFile& operator=(const RawFile&) = delete;

  absl::Status Append(absl::string_view bytes);
  // fdatasync(2).
  absl::Status Sync();

 private:
  RawFile(int descriptor, std::string path) : descriptor_(descriptor), path_(std::move(path)) {}

  const int descriptor_;
  const std::string path_;
  uint64_t size_bytes_ = 0;
};

// NotFound: there is no such file.
absl::StatusOr<std::string> ReadAll(const std::string& path);
absl::StatusOr<std::vector<std::string>> NamesIn(const std::string& directory);
absl::Status SyncDirectory(const std::string& directory);
absl::Status RemoveFile(const std::string& path);
// The file has these bytes from now on, or those that it had before, whatever happens.
absl::Status ReplaceFile(const std::string& directory, const std::string& name,
                         absl::string_view bytes);

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_CRASH_RAW_FILE_H_
