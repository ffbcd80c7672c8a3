#ifndef FIXPOOL_BENCHMARKS_TRACE_REPLAY_OPTIONS_H_
#define FIXPOOL_BENCHMARKS_TRACE_REPLAY_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "benchmarks/generated_trace.h"
#include "benchmarks/page_trace.h"
#include "fixpool/storage/policy_kind.h"

namespace fixpool::benchmarks {

// A number of frames, or a share of a trace's distinct pages: "1000", "5%", "0.5%". What was
// not given is neither. A value; thread-compatible.
struct FrameShare {
  uint32_t frames = 0;
  double percent = 0;

  // At least 1. Shares are rounded down.
  uint32_t Of(uint64_t distinct_pages) const;
};

// What a run of trace_replay is to do: its flags, parsed. The fields are documented by
// TraceReplayHelp().
struct TraceReplayOptions {
  std::string trace;                 // empty: `generate`
  std::optional<Workload> generate;  // absent: `trace`
  TraceFormat format = TraceFormat::kLe32;
  FrameShare frames;
  storage::PolicyKind policy = storage::PolicyKind::kS3Fifo;
  uint32_t threads = 1;  // 1 to kMaxReplayThreads
  uint64_t seed = 1;
  bool through_cache = false;
  std::string dir = ".";  // through_cache
  std::string json;       // empty: no report
};

inline constexpr uint32_t kMaxReplayThreads = 256;

struct TraceReplayCommand {
  bool help = false;  // nothing else was looked at
  TraceReplayOptions options;
};

// As ParsePageIo: every error is a UsageError, and the flags stay set.
absl::StatusOr<TraceReplayCommand> ParseTraceReplay(absl::Span<const char* const> arguments);

// The answer to --help.
std::string TraceReplayHelp();

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_TRACE_REPLAY_OPTIONS_H_
