// trace_replay: how often a page trace misses under the cache's replacement policies. See --help,
// and docs/replacement.md.

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "benchmarks/cache_replay.h"
#include "benchmarks/exit_code.h"
#include "benchmarks/generated_trace.h"
#include "benchmarks/page_trace.h"
#include "benchmarks/policy_replay.h"
#include "benchmarks/report_file.h"
#include "benchmarks/trace_replay_options.h"
#include "fixpool/storage/policy_kind.h"

namespace fixpool::benchmarks {
namespace {

// One object in one line. Its keys are the program's interface and only ever added to.
std::string JsonReport(const TraceReplayOptions& options, uint64_t distinct_pages, uint32_t frames,
                       const TraceReplay& replay) {
  const PolicyReplay::Result& result = replay.result;
  return absl::StrFormat(
      "{\"policy\": \"%s\", \"references\": %d, \"distinct_pages\": %d, \"frames\": %d, "
      "\"misses\": %d, \"miss_ratio\": %.6f, \"writes_per_hit\": %.6f, "
      "\"frames_examined_per_eviction\": %.6f, \"evictions\": %d, \"page_writes\": %d, "
      "\"metadata_bytes_per_frame\": %.2f, \"threads\": %d, \"seconds\": %.3f}\n",
      storage::PolicyKindName(options.policy), result.references, distinct_pages, frames,
      result.misses, result.miss_ratio(), result.writes_per_hit(),
      result.frames_examined_per_eviction(), result.evictions, result.page_writes,
      replay.metadata_bytes_per_frame, options.threads, replay.seconds);
}

std::string TextReport(const TraceReplayOptions& options, uint64_t distinct_pages, uint32_t frames,
                       const TraceReplay& replay) {
  const PolicyReplay::Result& result = replay.result;
  return absl::StrFormat(
      "%s, %d frames, %d thread%s: %d references to %d distinct pages\n"
      "  miss ratio %.4f; %.3f writes per hit; %.2f frames examined per eviction\n"
      "  %d evictions, %d dirty pages written for them; %.1f bytes of metadata a frame\n",
      storage::PolicyKindName(options.policy), frames, options.threads,
      options.threads == 1 ? "" : "s", result.references, distinct_pages, result.miss_ratio(),
      result.writes_per_hit(), result.frames_examined_per_eviction(), result.evictions,
      result.page_writes, replay.metadata_bytes_per_frame);
}

// The same keys; null: only the policy alone tells.
std::string JsonReport(const TraceReplayOptions& options, uint64_t distinct_pages, uint32_t frames,
                       const CacheReplay& replay) {
  return absl::StrFormat(
      "{\"policy\": \"%s\", \"references\": %d, \"distinct_pages\": %d, \"frames\": %d, "
      "\"misses\": %d, \"miss_ratio\": %.6f, \"writes_per_hit\": null, "
      "\"frames_examined_per_eviction\": null, \"evictions\": %d, \"page_writes\": %d, "
      "\"metadata_bytes_per_frame\": null, \"threads\": %d, \"seconds\": %.3f}\n",
      storage::PolicyKindName(options.policy), replay.references, distinct_pages, frames,
      replay.misses, replay.miss_ratio(), replay.evictions, replay.page_writes, options.threads,
      replay.seconds);
}

std::string TextReport(const TraceReplayOptions& options, uint64_t distinct_pages, uint32_t frames,
                       const CacheReplay& replay) {
  return absl::StrFormat(
      "%s, %d frames, %d thread%s, through the cache: %d references to %d distinct pages\n"
      "  miss ratio %.4f; %d evictions, %d dirty pages written for them; %.1f s\n",
      storage::PolicyKindName(options.policy), frames, options.threads,
      options.threads == 1 ? "" : "s", replay.references, distinct_pages, replay.miss_ratio(),
      replay.evictions, replay.page_writes, replay.seconds);
}

template <typename Replay>
absl::Status Print(const TraceReplayOptions& options, uint64_t distinct_pages, uint32_t frames,
                   const Replay& replay, ReportFile* report) {
  std::fputs(TextReport(options, distinct_pages, frames, replay).c_str(), stdout);
  std::fflush(stdout);  // the report may go the same way
  if (report == nullptr) return absl::OkStatus();
  return report->Write(JsonReport(options, distinct_pages, frames, replay));
}

absl::Status Run(const TraceReplayOptions& options) {
  std::unique_ptr<ReportFile> report;
  if (!options.json.empty()) {
    absl::StatusOr<std::unique_ptr<ReportFile>> opened =
        ReportFile::Open(options.json, options.trace);
    if (!opened.ok()) return opened.status();
    report = *std::move(opened);
  }
  absl::StatusOr<PageTrace> trace = options.generate.has_value()
                                        ? GenerateTrace(*options.generate, options.seed)
                                        : ReadTrace(options.trace, options.format);
  if (!trace.ok()) return trace.status();
  const uint64_t pages = trace->distinct_pages();
  const uint32_t frames = options.frames.Of(pages);
  if (!options.through_cache) {
    return Print(options, pages, frames,
                 ReplayTrace(*trace, options.policy, frames, options.threads), report.get());
  }
  const absl::StatusOr<CacheReplay> replay =
      ReplayThroughCache(*trace, options.policy, frames, options.threads, options.dir);
  if (!replay.ok()) return replay.status();
  return Print(options, pages, frames, *replay, report.get());
}

int Main(absl::Span<const char* const> arguments) {
  absl::StatusOr<TraceReplayCommand> command = ParseTraceReplay(arguments);
  absl::Status status = command.status();
  if (command.ok() && command->help) {
    std::fputs(TraceReplayHelp().c_str(), stdout);
    return kExitOk;
  }
  if (command.ok()) status = Run(command->options);
  if (!status.ok()) std::fprintf(stderr, "trace_replay: %s\n", SentenceOf(status).c_str());
  return ExitCodeOf(status);
}

}  // namespace
}  // namespace fixpool::benchmarks

int main(int argc, char** argv) {
  return fixpool::benchmarks::Main(absl::MakeConstSpan(argv + 1, argc > 0 ? argc - 1 : 0));
}
