#include "benchmarks/write_back_options.h"

#include <cmath>

#include "absl/flags/declare.h"
#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "benchmarks/exit_code.h"
#include "benchmarks/flag_reader.h"
#include "fixpool/storage/page_cache.h"

using fixpool::benchmarks::ByteSize;
using fixpool::benchmarks::EngineChoice;
using fixpool::benchmarks::PagesChoice;

// page_io's; the names of flags are one space for all that is linked in.
ABSL_DECLARE_FLAG(std::string, file);
ABSL_DECLARE_FLAG(ByteSize, file_bytes);
ABSL_DECLARE_FLAG(ByteSize, page_bytes);
ABSL_DECLARE_FLAG(uint32_t, depth);
ABSL_DECLARE_FLAG(EngineChoice, engine);
ABSL_DECLARE_FLAG(ByteSize, cache_bytes);
ABSL_DECLARE_FLAG(PagesChoice, pages);
ABSL_DECLARE_FLAG(bool, direct);
ABSL_DECLARE_FLAG(double, seconds);
ABSL_DECLARE_FLAG(uint64_t, seed);
ABSL_DECLARE_FLAG(std::string, json);

ABSL_FLAG(uint32_t, writers, 1, "Threads that make random pages dirty, 1 to 256.");
ABSL_FLAG(uint32_t, readers, 0, "Threads that read random pages that are not in memory, 0 to 256.");
ABSL_FLAG(double, writes_per_second, 0,
          "Pages made dirty, by all writers together, at even distances. 0: as fast as the cache "
          "lets them.");
ABSL_FLAG(double, reads_per_second, 0,
          "Reads begun, by all readers together, at even distances, whether or not those before "
          "have ended. 0: one after the other.");
ABSL_FLAG(double, dirty_share, fixpool::storage::PageCache::kDefaultDirtyShare,
          "The cache's dirty_share: of its frames, those that may be dirty before the background "
          "writer begins.");
ABSL_FLAG(double, warm_up_seconds, 30,
          "What is not counted lasts until the cache is full and the number of dirty pages steady, "
          "but no longer than this.");
ABSL_FLAG(std::string, rate_trace, "",
          "Where to write, for every 10 ms, the pages made dirty and the transfers that wrote in "
          "that time, and how many pages are dirty. It costs CPU: not for comparisons.");

namespace fixpool::benchmarks {
namespace {

// In the order of --help.
constexpr absl::string_view kFlags[] = {
    "file",    "file_bytes",       "page_bytes",      "depth",       "writers", "writes_per_second",
    "readers", "reads_per_second", "cache_bytes",     "dirty_share", "engine",  "pages",
    "direct",  "seconds",          "warm_up_seconds", "seed",        "json",    "rate_trace",
};

WriteBackOptions OptionsFromFlags() {
  WriteBackOptions options;
  options.run.file = absl::GetFlag(FLAGS_file);
  options.run.file_bytes = absl::GetFlag(FLAGS_file_bytes).bytes;
  options.run.operation = Operation::kWrite;
  options.run.layer = Layer::kCache;
  options.run.depth = absl::GetFlag(FLAGS_depth);
  options.run.engine = absl::GetFlag(FLAGS_engine);
  options.run.cache_bytes = absl::GetFlag(FLAGS_cache_bytes).bytes;
  options.run.pages = absl::GetFlag(FLAGS_pages);
  options.run.direct = absl::GetFlag(FLAGS_direct);
  options.run.seconds = absl::GetFlag(FLAGS_seconds);
  options.run.seed = absl::GetFlag(FLAGS_seed);
  options.run.json = absl::GetFlag(FLAGS_json);
  options.writers = absl::GetFlag(FLAGS_writers);
  options.readers = absl::GetFlag(FLAGS_readers);
  options.writes_per_second = absl::GetFlag(FLAGS_writes_per_second);
  options.reads_per_second = absl::GetFlag(FLAGS_reads_per_second);
  options.dirty_share = absl::GetFlag(FLAGS_dirty_share);
  options.warm_up_seconds = absl::GetFlag(FLAGS_warm_up_seconds);
  options.rate_trace = absl::GetFlag(FLAGS_rate_trace);
  return options;
}

absl::Status CheckNumber(absl::string_view flag, double value, double most) {
  if (std::isfinite(value) && value >= 0 && value <= most) return absl::OkStatus();
  return UsageError(absl::StrCat("--", flag, " is 0 to ", most, ", not ", value));
}

absl::Status CheckCount(absl::string_view flag, uint64_t value, uint64_t least, uint64_t most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return UsageError(absl::StrCat("--", flag, " is ", least, " to ", most, ", not ", value));
}

absl::Status CheckSizes(const PageIoOptions& run, uint64_t page_bytes) {
  if (page_bytes < kMinPageBytes || page_bytes > kMaxPageBytes ||
      (page_bytes & (page_bytes - 1)) != 0) {
    return UsageError(absl::StrCat("--page_bytes is a power of two from ", kMinPageBytes, " to ",
                                   kMaxPageBytes, ", not ", page_bytes));
  }
  if (run.file_bytes % page_bytes == 0 && run.file_bytes <= uint64_t{1} << 62) {
    return absl::OkStatus();
  }
  return UsageError(absl::StrCat("--file_bytes, ", run.file_bytes,
                                 ", is not a multiple of --page_bytes, ", page_bytes,
                                 ", that a file can hold"));
}

absl::Status Check(const WriteBackOptions& options, uint64_t page_bytes) {
  if (options.run.file.empty()) return UsageError("--file is required: the file to work on");
  if (!(options.run.seconds > 0)) {
    return UsageError(absl::StrCat("--seconds is more than 0, not ", options.run.seconds));
  }
  // An engine takes 4096.
  const absl::Status checks[] = {
      CheckCount("depth", options.run.depth, 1, WriterDepthOf(kMaxDepth)),
      CheckCount("writers", options.writers, 1, kMaxThreads),
      CheckCount("readers", options.readers, 0, kMaxThreads),
      CheckNumber("writes_per_second", options.writes_per_second, kMaxRate),
      CheckNumber("reads_per_second", options.reads_per_second, kMaxRate),
      CheckNumber("dirty_share", options.dirty_share, 1),
      CheckNumber("warm_up_seconds", options.warm_up_seconds, kMaxSeconds),
      CheckNumber("seconds", options.run.seconds, kMaxSeconds),
      CheckSizes(options.run, page_bytes),
  };
  for (const absl::Status& status : checks) {
    if (!status.ok()) return status;
  }
  if (options.readers > 0 || options.reads_per_second == 0) return absl::OkStatus();
  return UsageError("--reads_per_second needs --readers to do them");
}

}  // namespace

absl::StatusOr<WriteBackCommand> ParseWriteBack(absl::Span<const char* const> arguments) {
  absl::StatusOr<bool> help = ReadFlags({.program = "write_back", .flags = kFlags}, arguments);
  if (!help.ok()) return help.status();
  WriteBackCommand command;
  command.help = *help;
  if (command.help) return command;

  command.options = OptionsFromFlags();
  const uint64_t page_bytes = absl::GetFlag(FLAGS_page_bytes).bytes;
  if (absl::Status status = Check(command.options, page_bytes); !status.ok()) return status;
  command.options.run.page_bytes = static_cast<uint32_t>(page_bytes);
  return command;
}

std::string WriteBackHelp() {
  const std::string help =
      "write_back changes random pages of a file through a cache of Fixpool, which writes them in\n"
      "the background, and tells how fast; and how fast others read beside it.\n\n"
      "  write_back --file=/data/test --file_bytes=8g --cache_bytes=1g --depth=32 --seconds=20\n\n"
      "The file is overwritten. It is at least twice as large as the cache. The flags are those "
      "of\n"
      "page_io, but for --depth: here the transfers that the background writer has in flight at\n"
      "most. The engine gets a third more, since it leaves a quarter of it to reads.\n"
      "Sizes are bytes, or KiB, MiB, GiB, TiB with k, m, g, t behind them.\n"
      "Exit codes: 0 done, 1 failed, 2 wrong usage.\n\n";
  return help + FlagsHelp(kFlags);
}

}  // namespace fixpool::benchmarks
