#ifndef FIXPOOL_BENCHMARKS_REPORT_FILE_H_
#define FIXPOOL_BENCHMARKS_REPORT_FILE_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fixpool::benchmarks {

// The place where the JSON goes: opened before the run, so that a path that cannot be written
// costs nobody the time of a run; written after it. Thread-compatible.
class ReportFile {
 public:
  // UsageError: `path` cannot be opened for writing, or is the file `data_path` itself.
  static absl::StatusOr<std::unique_ptr<ReportFile>> Open(const std::string& path,
                                                          const std::string& data_path);
  // Removes the file again if Open made it and nothing was written.
  ~ReportFile();
  ReportFile(const ReportFile&) = delete;
  ReportFile& operator=(const ReportFile&) = delete;

  // Replaces what the file held. The errno's code, with the path.
  absl::Status Write(const std::string& text);

 private:
  ReportFile() = default;

  std::string path_;
  int descriptor_ = -1;
  bool made_ = false;
};

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_REPORT_FILE_H_
