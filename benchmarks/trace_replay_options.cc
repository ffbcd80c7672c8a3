#include "benchmarks/trace_replay_options.h"

#include <algorithm>
#include <cmath>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "benchmarks/exit_code.h"
#include "benchmarks/flag_reader.h"

ABSL_FLAG(std::string, trace, "",
          "The trace to replay; - is standard input. One that is compressed goes through that: "
          "zstd -dc oltp.lis.zst | trace_replay --trace=- --format=lis --frames=5%");
ABSL_FLAG(std::string, generate, "",
          "Instead of --trace: zipf_scan (10,000 pages, of which 2,000 are hot, with a scan over "
          "the rest in the middle half), loop (1,100 pages in order, 200 times) or tpcc "
          "(transactions in the manner of TPC-C).");
ABSL_FLAG(std::string, format, "le32",
          "le32 (32-bit little-endian page numbers; with the top bit set, the page is written to, "
          "which makes it dirty and is no reference) or lis (lines of text: 'first count ignored "
          "request', each a run of pages).");
ABSL_FLAG(std::string, frames, "",
          "Frames of the cache: a number, or with % behind it a share of the distinct pages. "
          "Required.");
ABSL_FLAG(std::string, policy, "s3w", "s3w (S3-FIFO with a correlation window), clock or lru.");
ABSL_FLAG(uint32_t, threads, 1,
          "Threads that replay the trace together, 1 to 256, taking turns of 64 records.");
ABSL_FLAG(uint64_t, seed, 1, "Of --generate; the same seed gives the same trace.");
ABSL_FLAG(bool, through_cache, false,
          "Through the whole PageCache, on a sparse file that is made in --dir and removed "
          "afterwards, and not through the policy alone.");
ABSL_FLAG(std::string, dir, ".", "Where to make that file.");
ABSL_FLAG(std::string, json, "", "Where to write the report as JSON.");

namespace fixpool::benchmarks {
namespace {

using storage::PolicyKind;

// In the order of --help.
constexpr absl::string_view kFlags[] = {"trace",   "generate", "format",        "frames", "policy",
                                        "threads", "seed",     "through_cache", "dir",    "json"};

absl::Status BadWord(absl::string_view flag, absl::string_view value, absl::string_view words) {
  return UsageError(absl::StrCat("--", flag, "=", value, ": it is one of ", words));
}

absl::Status ParseFormat(const std::string& word, TraceFormat& format) {
  if (word != "le32" && word != "lis") return BadWord("format", word, "le32, lis");
  format = word == "lis" ? TraceFormat::kLis : TraceFormat::kLe32;
  return absl::OkStatus();
}

absl::Status ParsePolicy(const std::string& word, PolicyKind& policy) {
  for (PolicyKind kind : {PolicyKind::kS3Fifo, PolicyKind::kClock, PolicyKind::kLru}) {
    policy = kind;
    if (word == storage::PolicyKindName(kind)) return absl::OkStatus();
  }
  return BadWord("policy", word, "s3w, clock, lru");
}

absl::Status ParseGenerate(const std::string& word, std::optional<Workload>& workload) {
  if (word == "zipf_scan") workload = Workload::kZipfScan;
  if (word == "loop") workload = Workload::kLoop;
  if (word == "tpcc") workload = Workload::kTpcc;
  if (workload.has_value() || word.empty()) return absl::OkStatus();
  return BadWord("generate", word, "zipf_scan, loop, tpcc");
}

absl::Status ParseFrames(const std::string& word, FrameShare& frames) {
  if (word.empty()) {
    return UsageError("--frames is required: how many, or a share of the pages such as 5%");
  }
  constexpr uint32_t kMaxFrames = 1u << 30;
  absl::string_view number = word;
  if (absl::ConsumeSuffix(&number, "%")) {
    if (absl::SimpleAtod(number, &frames.percent) && std::isfinite(frames.percent) &&
        frames.percent > 0 && frames.percent <= 100) {
      return absl::OkStatus();
    }
    return UsageError(
        absl::StrCat("--frames=", word, ": a share is more than 0% and at most 100%"));
  }
  if (absl::SimpleAtoi(number, &frames.frames) && frames.frames > 0 &&
      frames.frames <= kMaxFrames) {
    return absl::OkStatus();
  }
  return UsageError(absl::StrCat("--frames=", word, ": it is 1 to ", kMaxFrames,
                                 ", or a share of the pages such as 5%"));
}

absl::Status CheckSource(const TraceReplayOptions& options) {
  if (options.trace.empty() && !options.generate.has_value()) {
    return UsageError("--trace is required, or --generate: what to replay");
  }
  if (!options.trace.empty() && options.generate.has_value()) {
    return UsageError("--trace and --generate exclude each other");
  }
  if (options.threads < 1 || options.threads > kMaxReplayThreads) {
    return UsageError(
        absl::StrCat("--threads is 1 to ", kMaxReplayThreads, ", not ", options.threads));
  }
  return absl::OkStatus();
}

}  // namespace

uint32_t FrameShare::Of(uint64_t distinct_pages) const {
  if (frames > 0) return frames;
  const double share = percent / 100 * static_cast<double>(distinct_pages);
  // So that 10% of 10 is 1, whatever a tenth is in binary.
  return std::max(static_cast<uint32_t>(share + 1e-6), 1u);
}

absl::StatusOr<TraceReplayCommand> ParseTraceReplay(absl::Span<const char* const> arguments) {
  absl::StatusOr<bool> help = ReadFlags({.program = "trace_replay", .flags = kFlags}, arguments);
  if (!help.ok()) return help.status();
  TraceReplayCommand command;
  command.help = *help;
  if (command.help) return command;

  TraceReplayOptions& options = command.options;
  options.trace = absl::GetFlag(FLAGS_trace);
  options.threads = absl::GetFlag(FLAGS_threads);
  options.seed = absl::GetFlag(FLAGS_seed);
  options.through_cache = absl::GetFlag(FLAGS_through_cache);
  options.dir = absl::GetFlag(FLAGS_dir);
  options.json = absl::GetFlag(FLAGS_json);
  absl::Status status = ParseGenerate(absl::GetFlag(FLAGS_generate), options.generate);
  if (status.ok()) status = CheckSource(options);
  if (status.ok()) status = ParseFormat(absl::GetFlag(FLAGS_format), options.format);
  if (status.ok()) status = ParseFrames(absl::GetFlag(FLAGS_frames), options.frames);
  if (status.ok()) status = ParsePolicy(absl::GetFlag(FLAGS_policy), options.policy);
  if (!status.ok()) return status;
  return command;
}

std::string TraceReplayHelp() {
  return "trace_replay shows how often a page trace misses in a cache of Fixpool's: the cache's "
         "own\n"
         "replacement policy, without a disk, or (--through_cache) the whole of it.\n\n"
         "  trace_replay --trace=trace.le32 --frames=10% --policy=s3w --json=report.json\n"
         "  zstd -dc oltp.lis.zst | trace_replay --trace=- --format=lis --frames=5%\n"
         "  trace_replay --generate=zipf_scan --frames=1000 --policy=lru\n\n"
         "Exit codes: 0 done, 1 failed, 2 wrong usage or no such trace.\n\n" +
         FlagsHelp(kFlags);
}

}  // namespace fixpool::benchmarks
