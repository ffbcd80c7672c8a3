#ifndef FIXPOOL_BENCHMARKS_PAGE_IO_OPTIONS_H_
#define FIXPOOL_BENCHMARKS_PAGE_IO_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "benchmarks/flag_values.h"

namespace fixpool::benchmarks {

// What a run of page_io is to do: its flags, parsed and found possible as far as that can
// be said without looking at the machine.
//
//   absl::StatusOr<PageIoCommand> command = ParsePageIo({"--file=/data/f", "--depth", "32"});
//   if (command->help) std::cout << PageIoHelp();
//
// The fields are named and documented after the flags; see PageIoHelp().
struct PageIoOptions {
  std::string file;            // not empty
  uint64_t file_bytes = 0;     // whole pages; 0: as large as the file is
  uint32_t page_bytes = 4096;  // power of two
  Pattern pattern = Pattern::kRandom;
  Operation operation = Operation::kRead;
  uint32_t depth = 1;    // 1 to kMaxDepth
  uint32_t threads = 1;  // 1 to kMaxThreads
  EngineChoice engine;
  Layer layer = Layer::kEngine;
  uint64_t cache_bytes = 0;  // 0: chosen to suit
  uint64_t read_ahead_bytes = uint64_t{8} << 20;
  bool keeper = true;
  Access access = Access::kBatches;
  PagesChoice pages;
  bool direct = true;
  double seconds = 0;  // more than 0
  uint64_t seed = 0;
  bool verify = false;
  std::string json;  // empty: no report
};

inline constexpr uint32_t kMinPageBytes = 4096;
inline constexpr uint32_t kMaxPageBytes = 1u << 20;
inline constexpr uint32_t kMaxDepth = 4096;
inline constexpr uint32_t kMaxThreads = 256;
inline constexpr double kMaxSeconds = 1e6;

struct PageIoCommand {
  bool help = false;  // nothing else was looked at
  PageIoOptions options;
};

// `arguments` are those behind the program's name. Every error is a UsageError with one
// sentence: an unknown flag, a flag without a value, a value that is none, a positional
// argument, a value out of its range, --file missing.
// Abseil's own parser would do all this too, but with exit code 1 and several lines. The
// flags are Abseil's all the same: their values stay set, so one call a process, or an
// absl::FlagSaver around each.
absl::StatusOr<PageIoCommand> ParsePageIo(absl::Span<const char* const> arguments);

// The answer to --help.
std::string PageIoHelp();

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_PAGE_IO_OPTIONS_H_
