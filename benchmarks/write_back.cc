// write_back: how fast a cache writes changed pages in the background, and how fast others read
// beside it. See --help, and docs/benchmarks.md.

#include <cstdio>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "benchmarks/exit_code.h"
#include "benchmarks/memory_need.h"
#include "benchmarks/page_file.h"
#include "benchmarks/report_file.h"
#include "benchmarks/write_back_options.h"
#include "benchmarks/write_back_rates.h"
#include "benchmarks/write_back_report.h"
#include "benchmarks/write_back_runner.h"

namespace fixpool::benchmarks {
namespace {

// Null if there is to be none.
absl::StatusOr<std::unique_ptr<ReportFile>> OpenReport(const std::string& path,
                                                       const std::string& data_path) {
  if (path.empty()) return nullptr;
  return ReportFile::Open(path, data_path);
}

// Else most pages that are made dirty are dirty already, and most reads find theirs.
absl::Status CheckCache(const WriteBackOptions& options, const PageFile& file) {
  if (options.run.cache_bytes <= file.file_bytes() / 2) return absl::OkStatus();
  return UsageError(absl::StrCat("the cache, ", options.run.cache_bytes,
                                 " bytes, is more than half of the file, ", file.file_bytes()));
}

// Everything that could be wrong with the command line is found before anything is changed.
absl::Status Run(WriteBackOptions options) {
  absl::StatusOr<PageFile> file = PageFile::Inspect(options.run);
  if (!file.ok()) return file.status();
  absl::StatusOr<uint64_t> need_bytes =
      MemoryNeed(options.run, file->file_bytes(), AvailableBytes());
  if (!need_bytes.ok()) return need_bytes.status();
  options.run.cache_bytes = *need_bytes;
  if (absl::Status status = CheckCache(options, *file); !status.ok()) return status;
  absl::StatusOr<std::unique_ptr<ReportFile>> report =
      OpenReport(options.run.json, options.run.file);
  if (!report.ok()) return report.status();
  absl::StatusOr<std::unique_ptr<ReportFile>> trace =
      OpenReport(options.rate_trace, options.run.file);
  if (!trace.ok()) return trace.status();

  if (absl::Status status = file->Prepare(); !status.ok()) return status;
  absl::StatusOr<WriteBackResult> result = RunWriteBack(options, *file);
  if (!result.ok()) return result.status();

  std::fputs(WriteBackText(options, *result).c_str(), stdout);
  std::fflush(stdout);  // the report may go the same way
  if (*trace != nullptr) {
    if (absl::Status status = (*trace)->Write(RateTrace(result->samples)); !status.ok()) {
      return status;
    }
  }
  if (*report == nullptr) return absl::OkStatus();
  return (*report)->Write(WriteBackJson(options, *result));
}

int Main(absl::Span<const char* const> arguments) {
  absl::StatusOr<WriteBackCommand> command = ParseWriteBack(arguments);
  absl::Status status = command.status();
  if (command.ok() && command->help) {
    std::fputs(WriteBackHelp().c_str(), stdout);
    return kExitOk;
  }
  if (command.ok()) status = Run(command->options);
  if (!status.ok()) std::fprintf(stderr, "write_back: %s\n", SentenceOf(status).c_str());
  return ExitCodeOf(status);
}

}  // namespace
}  // namespace fixpool::benchmarks

int main(int argc, char** argv) {
  return fixpool::benchmarks::Main(absl::MakeConstSpan(argv + 1, argc > 0 ? argc - 1 : 0));
}
