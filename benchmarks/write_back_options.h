#ifndef FIXPOOL_BENCHMARKS_WRITE_BACK_OPTIONS_H_
#define FIXPOOL_BENCHMARKS_WRITE_BACK_OPTIONS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "benchmarks/page_io_options.h"

namespace fixpool::benchmarks {

// What a run of write_back is to do: its flags, parsed and found possible as far as that can be
// said without looking at the machine.
//
//   absl::StatusOr<WriteBackCommand> command = ParseWriteBack({"--file=/data/f", "--depth=32"});
//   if (command->help) std::cout << WriteBackHelp();
//
// The fields are named and documented after the flags; see WriteBackHelp().
struct WriteBackOptions {
  // What it has in common with page_io: file, file_bytes, page_bytes, engine, cache_bytes, pages,
  // direct, seconds, seed, json; and depth, the transfers that the background writer has in flight
  // at most. Of the rest: an operation that writes, through a cache.
  PageIoOptions run;
  uint32_t writers = 1;          // 1 to kMaxThreads
  uint32_t readers = 0;          // 0 to kMaxThreads
  double writes_per_second = 0;  // of all writers; 0: as many as the cache lets through
  double reads_per_second = 0;   // of all readers; 0: one after the other
  double dirty_share = 0;        // 0 to 1
  double warm_up_seconds = 0;    // at most; 0: none
  std::string rate_trace;        // empty: none
};

inline constexpr double kMaxRate = 1e9;

struct WriteBackCommand {
  bool help = false;  // nothing else was looked at
  WriteBackOptions options;
};

// The depth of an engine of which PageWriter takes `depth` at most, the other quarter being left to
// reads (see PageWriter::Wanted, which is depth - depth / 4 of the engine's).
constexpr uint32_t EngineDepthFor(uint32_t depth) {
  return static_cast<uint32_t>(uint64_t{4} * depth / 3);
}
constexpr uint32_t WriterDepthOf(uint32_t engine_depth) { return engine_depth - engine_depth / 4; }

// As ParsePageIo, with the same exit codes behind its errors.
absl::StatusOr<WriteBackCommand> ParseWriteBack(absl::Span<const char* const> arguments);

// The answer to --help.
std::string WriteBackHelp();

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_WRITE_BACK_OPTIONS_H_
