#ifndef FIXPOOL_BENCHMARKS_PAGE_IO_REPORT_H_
#define FIXPOOL_BENCHMARKS_PAGE_IO_REPORT_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "benchmarks/page_file.h"
#include "benchmarks/page_io_options.h"
#include "benchmarks/run_result.h"

namespace fixpool::benchmarks {

// One JSON object in one line. Its keys are page_io's interface and only ever added to.
std::string JsonReport(const PageIoOptions& options, const PageFile& file, const RunResult& result);

// The same for people: a few lines.
std::string TextReport(const PageIoOptions& options, const PageFile& file, const RunResult& result);

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

#endif  // FIXPOOL_BENCHMARKS_PAGE_IO_REPORT_H_
