// page_io: moves pages between a file and memory, and tells how fast. See --help, and
// docs/benchmarks.md.

#include <cstdio>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "benchmarks/cache_runner.h"
#include "benchmarks/engine_runner.h"
#include "benchmarks/exit_code.h"
#include "benchmarks/memory_need.h"
#include "benchmarks/page_file.h"
#include "benchmarks/page_io_options.h"
#include "benchmarks/page_io_report.h"
#include "benchmarks/page_ledger.h"
#include "benchmarks/report_file.h"

namespace fixpool::benchmarks {
namespace {

absl::StatusOr<RunResult> RunAndVerify(const PageIoOptions& options, const PageFile& file) {
  std::unique_ptr<PageLedger> ledger;
  if (options.verify) {
    ledger = std::make_unique<PageLedger>(file.pages(), file.page_bytes());
    if (absl::Status status = file.LearnInto(*ledger); !status.ok()) return status;
  }
  absl::StatusOr<RunResult> result = options.layer == Layer::kEngine
                                         ? RunEngine(options, file, ledger.get())
                                         : RunCache(options, file, ledger.get());
  if (!result.ok() || ledger == nullptr) return result;
  if (absl::Status status = file.CheckAgainst(*ledger); !status.ok()) return status;
  return result;
}

// With a ledger the engine's threads keep to pages of their own, each in flight once.
absl::Status CheckEnoughPages(const PageIoOptions& options, const PageFile& file) {
  if (!options.verify || options.layer != Layer::kEngine) return absl::OkStatus();
  if (file.pages() >= PagesInFlight(options)) return absl::OkStatus();
  return UsageError(absl::StrCat("--verify needs as many pages in the file as are in flight, ",
                                 PagesInFlight(options), ", and there are ", file.pages()));
}

// Everything that could be wrong with the command line is found before anything is changed.
absl::Status Run(PageIoOptions options) {
  absl::StatusOr<PageFile> file = PageFile::Inspect(options);
  if (!file.ok()) return file.status();
  if (absl::Status status = CheckEnoughPages(options, *file); !status.ok()) return status;
  absl::StatusOr<uint64_t> need_bytes = MemoryNeed(options, file->file_bytes(), AvailableBytes());
  if (!need_bytes.ok()) return need_bytes.status();
  options.cache_bytes = *need_bytes;
  std::unique_ptr<ReportFile> report;
  if (!options.json.empty()) {
    absl::StatusOr<std::unique_ptr<ReportFile>> opened =
        ReportFile::Open(options.json, options.file);
    if (!opened.ok()) return opened.status();
    report = *std::move(opened);
  }

  if (absl::Status status = file->Prepare(); !status.ok()) return status;
  absl::StatusOr<RunResult> result = RunAndVerify(options, *file);
  if (!result.ok()) return result.status();

  std::fputs(TextReport(options, *file, *result).c_str(), stdout);
  std::fflush(stdout);  // the report may go the same way
  if (report == nullptr) return absl::OkStatus();
  return report->Write(JsonReport(options, *file, *result));
}

int Main(absl::Span<const char* const> arguments) {
  absl::StatusOr<PageIoCommand> command = ParsePageIo(arguments);
  absl::Status status = command.status();
  if (command.ok() && command->help) {
    std::fputs(PageIoHelp().c_str(), stdout);
    return kExitOk;
  }
  if (command.ok()) status = Run(command->options);
  if (!status.ok()) std::fprintf(stderr, "page_io: %s\n", SentenceOf(status).c_str());
  return ExitCodeOf(status);
}

}  // namespace
}  // namespace fixpool::benchmarks

int main(int argc, char** argv) {
  return fixpool::benchmarks::Main(absl::MakeConstSpan(argv + 1, argc > 0 ? argc - 1 : 0));
}
