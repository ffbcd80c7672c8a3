#include "benchmarks/page_io_options.h"

#include <cmath>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "benchmarks/exit_code.h"
#include "benchmarks/flag_reader.h"

using fixpool::benchmarks::Access;
using fixpool::benchmarks::ByteSize;
using fixpool::benchmarks::EngineChoice;
using fixpool::benchmarks::Layer;
using fixpool::benchmarks::Operation;
using fixpool::benchmarks::PagesChoice;
using fixpool::benchmarks::Pattern;

ABSL_FLAG(std::string, file, "",
          "The file to work on; required. One that is missing, or shorter than --file_bytes, is "
          "made or made longer first, with space reserved and no zeros. What a longer one holds "
          "beyond --file_bytes is left alone.");
ABSL_FLAG(ByteSize, file_bytes, ByteSize{},
          "How much of the file to use, a multiple of --page_bytes. Default: the whole pages of "
          "the file as it is.");
ABSL_FLAG(ByteSize, page_bytes, ByteSize{4096}, "Bytes moved at a time; a power of two.");
ABSL_FLAG(Pattern, pattern, Pattern::kRandom,
          "random or sequential. Sequential: each thread begins at its own share of the file.");
ABSL_FLAG(Operation, operation, Operation::kRead,
          "read, write or mixed (half reads, half writes). read never changes what an existing "
          "file holds.");
ABSL_FLAG(uint32_t, depth, 1,
          "Pages in flight for each thread, 1 to 4096: requests of the engine, or reads that the "
          "cache was asked to start ahead of their use.");
ABSL_FLAG(uint32_t, threads, 1,
          "Threads, 1 to 256. Each has a ring of its own (layer engine) or all share one cache.");
ABSL_FLAG(
    EngineChoice, engine, EngineChoice{},
    "auto, uring_fixed (io_uring with registered buffers), uring_plain (without) or threads "
    "(pread and pwrite). auto is the best there is; any other must be had, or the run fails.");
ABSL_FLAG(Layer, layer, Layer::kEngine,
          "engine (each operation is a transfer) or cache (pages go through a PageCache).");
ABSL_FLAG(ByteSize, cache_bytes, ByteSize{},
          "Memory for the pages of the cache (layer cache). Default: a quarter of --file_bytes, "
          "but enough for --depth and --threads.");
ABSL_FLAG(ByteSize, read_ahead_bytes, (ByteSize{.bytes = 8 << 20}),
          "What the cache reads ahead of a scan, at most (layer cache). Less than 8 pages is off.");
ABSL_FLAG(bool, keeper, true,
          "A thread of the cache's own keeps frames free (layer cache). --nokeeper: who misses a "
          "page looks for a victim.");
ABSL_FLAG(Access, access, Access::kBatches,
          "How a thread keeps --depth pages of the cache in flight (layer cache): batches "
          "(Prefetch, then Read) or tasks (as many coroutines that await ReadAsync).");
ABSL_FLAG(PagesChoice, pages, PagesChoice{},
          "Memory that holds the pages: auto, 1g or 2m (hugetlb), thp (transparent huge pages) or "
          "4k. auto is the best there is; any other must be had, or the run fails.");
ABSL_FLAG(bool, direct, true, "O_DIRECT. --nodirect goes through the kernel's page cache.");
ABSL_FLAG(double, seconds, 10, "How long to measure.");
ABSL_FLAG(uint64_t, seed, 1, "Of the random numbers; the same seed gives the same page numbers.");
ABSL_FLAG(
    bool, verify, false,
    "Checks every page read, and the whole file at the end; a wrong byte is exit code 3. With "
    "write and mixed the file (its first --file_bytes) is first written full of page numbers "
    "and sequence numbers. With read an existing file is not changed: it must hold what "
    "page_io wrote there, else it is refused.");
ABSL_FLAG(std::string, json, "", "Where to write the report as JSON.");

namespace fixpool::benchmarks {
namespace {

// In the order of --help. A flag of another library that happens to be linked in is not one
// of page_io's.
constexpr absl::string_view kFlags[] = {
    "file",   "file_bytes", "page_bytes",  "pattern",          "operation", "depth",  "threads",
    "engine", "layer",      "cache_bytes", "read_ahead_bytes", "keeper",    "access", "pages",
    "direct", "seconds",    "seed",        "verify",           "json",
};

absl::Status CheckSizes(const PageIoOptions& options, uint64_t page_bytes) {
  if (page_bytes < kMinPageBytes || page_bytes > kMaxPageBytes ||
      (page_bytes & (page_bytes - 1)) != 0) {
    return UsageError(absl::StrCat("--page_bytes is a power of two from ", kMinPageBytes, " to ",
                                   kMaxPageBytes, ", not ", page_bytes));
  }
  if (options.file_bytes % page_bytes != 0) {
    return UsageError(absl::StrCat("--file_bytes, ", options.file_bytes,
                                   ", is not a multiple of --page_bytes, ", page_bytes));
  }
  // off_t is signed.
  if (options.file_bytes > uint64_t{1} << 62) {
    return UsageError(
        absl::StrCat("--file_bytes, ", options.file_bytes, ", is more than any file can hold"));
  }
  return absl::OkStatus();
}

absl::Status CheckRanges(const PageIoOptions& options) {
  if (options.file.empty()) return UsageError("--file is required: the file to work on");
  if (options.depth < 1 || options.depth > kMaxDepth) {
    return UsageError(absl::StrCat("--depth is 1 to ", kMaxDepth, ", not ", options.depth));
  }
  if (options.threads < 1 || options.threads > kMaxThreads) {
    return UsageError(absl::StrCat("--threads is 1 to ", kMaxThreads, ", not ", options.threads));
  }
  if (!std::isfinite(options.seconds) || options.seconds <= 0 || options.seconds > kMaxSeconds) {
    return UsageError(absl::StrCat("--seconds is more than 0 and at most ", kMaxSeconds, ", not ",
                                   options.seconds));
  }
  return absl::OkStatus();
}

PageIoOptions OptionsFromFlags() {
  PageIoOptions options;
  options.file = absl::GetFlag(FLAGS_file);
  options.file_bytes = absl::GetFlag(FLAGS_file_bytes).bytes;
  options.pattern = absl::GetFlag(FLAGS_pattern);
  options.operation = absl::GetFlag(FLAGS_operation);
  options.depth = absl::GetFlag(FLAGS_depth);
  options.threads = absl::GetFlag(FLAGS_threads);
  options.engine = absl::GetFlag(FLAGS_engine);
  options.layer = absl::GetFlag(FLAGS_layer);
  options.cache_bytes = absl::GetFlag(FLAGS_cache_bytes).bytes;
  options.read_ahead_bytes = absl::GetFlag(FLAGS_read_ahead_bytes).bytes;
  options.keeper = absl::GetFlag(FLAGS_keeper);
  options.access = absl::GetFlag(FLAGS_access);
  options.pages = absl::GetFlag(FLAGS_pages);
  options.direct = absl::GetFlag(FLAGS_direct);
  options.seconds = absl::GetFlag(FLAGS_seconds);
  options.seed = absl::GetFlag(FLAGS_seed);
  options.verify = absl::GetFlag(FLAGS_verify);
  options.json = absl::GetFlag(FLAGS_json);
  return options;
}

}  // namespace

absl::StatusOr<PageIoCommand> ParsePageIo(absl::Span<const char* const> arguments) {
  absl::StatusOr<bool> help = ReadFlags({.program = "page_io", .flags = kFlags}, arguments);
  if (!help.ok()) return help.status();
  PageIoCommand command;
  command.help = *help;
  if (command.help) return command;

  command.options = OptionsFromFlags();
  const uint64_t page_bytes = absl::GetFlag(FLAGS_page_bytes).bytes;
  if (absl::Status status = CheckRanges(command.options); !status.ok()) return status;
  if (absl::Status status = CheckSizes(command.options, page_bytes); !status.ok()) return status;
  command.options.page_bytes = static_cast<uint32_t>(page_bytes);
  return command;
}

std::string PageIoHelp() {
  const std::string help =
      "page_io moves pages between a file and memory through Fixpool, and tells how fast.\n\n"
      "  page_io --file=/data/test --file_bytes=8g --depth=32 --seconds=20 --json=report.json\n\n"
      "Sizes are bytes, or KiB, MiB, GiB, TiB with k, m, g, t behind them.\n"
      "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 wrong data found by --verify.\n\n";
  return help + FlagsHelp(kFlags);
}

}  // namespace fixpool::benchmarks
