#include "benchmarks/page_io_report.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "benchmarks/memory_need.h"
#include "fixpool/arena/format_bytes.h"
#include "fixpool/io/error.h"

namespace fixpool::benchmarks {
namespace {

// A quotient that is 0, and not infinite, where nothing happened.
double Per(double amount, double divisor) { return divisor > 0 ? amount / divisor : 0; }

struct Rates {
  double operations_per_second;
  double bytes_per_second;
  double cpu_ns_per_operation;
};

Rates RatesOf(const PageFile& file, const RunResult& result) {
  const auto operations = static_cast<double>(result.operations);
  const double per_second = Per(operations, result.interval.seconds);
  return {.operations_per_second = per_second,
          .bytes_per_second = per_second * file.page_bytes(),
          .cpu_ns_per_operation = Per(static_cast<double>(result.interval.cpu_ns), operations)};
}

std::string Microseconds(uint64_t ns) {
  return absl::StrFormat("%.1f", static_cast<double>(ns) / 1e3);
}

absl::string_view OperationWord(const PageIoOptions& options) {
  switch (options.operation) {
    case Operation::kRead:
      return "reads";
    case Operation::kWrite:
      return "writes";
    case Operation::kMixed:
      break;
  }
  return "reads and writes";
}

void AppendCache(const RunResult& result, std::string* text) {
  const CacheCounts& cache = result.cache;
  absl::StrAppend(text, "  cache: ", cache.hits, " hits, ", cache.misses, " misses, ",
                  cache.evictions, " evictions, ", cache.writes, " pages written\n");
  const auto misses = static_cast<double>(cache.misses);
  absl::StrAppendFormat(
      text, "  %.0f misses/s, CPU %.2f us a miss, %.2f kernel enters a miss, %.1f in flight\n",
      Per(misses, result.interval.seconds),
      Per(static_cast<double>(result.interval.cpu_ns), misses) / 1e3,
      Per(static_cast<double>(cache.kernel_enters), misses), cache.mean_in_flight);
}

}  // namespace

std::string JsonReport(const PageIoOptions& options, const PageFile& file,
                       const RunResult& result) {
  const Rates rates = RatesOf(file, result);
  const LatencyHistogram& latency = result.latency;
  // The words are ours and need no escaping.
  return absl::StrFormat(
      "{\"operations\": %d, \"seconds\": %.9f, \"operations_per_second\": %.3f, "
      "\"bytes_per_second\": %.3f, \"cpu_ns_per_operation\": %.3f, "
      "\"latency_ns\": {\"p50\": %d, \"p99\": %d, \"p999\": %d, \"max\": %d}, "
      "\"engine\": \"%s\", \"engine_errno\": \"%s\", \"page_backing\": \"%s\", "
      "\"cache\": {\"hits\": %d, \"misses\": %d, \"evictions\": %d, \"writes\": %d, "
      "\"kernel_enters\": %d, \"mean_in_flight\": %.3f}, "
      "\"file_bytes\": %d, \"page_bytes\": %d, \"depth\": %d, \"threads\": %d}\n",
      result.operations, result.interval.seconds, rates.operations_per_second,
      rates.bytes_per_second, rates.cpu_ns_per_operation, latency.Quantile(0.5),
      latency.Quantile(0.99), latency.Quantile(0.999), latency.max_ns(),
      io::EngineLevelName(result.in_force.engine), io::ErrnoName(result.in_force.engine_errno),
      arena::PageBackingName(result.in_force.backing), result.cache.hits, result.cache.misses,
      result.cache.evictions, result.cache.writes, result.cache.kernel_enters,
      result.cache.mean_in_flight, file.file_bytes(), file.page_bytes(), options.depth,
      options.threads);
}

std::string TextReport(const PageIoOptions& options, const PageFile& file,
                       const RunResult& result) {
  const Rates rates = RatesOf(file, result);
  const LatencyHistogram& latency = result.latency;
  std::string text = absl::StrFormat(
      "%s %s of %s in %s of %s, depth %d, %d thread%s\n",
      options.pattern == Pattern::kRandom ? "random" : "sequential", OperationWord(options),
      arena::FormatBytes(file.page_bytes()), arena::FormatBytes(file.file_bytes()), file.path(),
      options.depth, options.threads, options.threads == 1 ? "" : "s");
  absl::StrAppendFormat(&text, "  %.0f operations/s, %.1f MiB/s, CPU %.2f us an operation\n",
                        rates.operations_per_second, rates.bytes_per_second / (1 << 20),
                        rates.cpu_ns_per_operation / 1e3);
  absl::StrAppend(&text, "  latency us: p50 ", Microseconds(latency.Quantile(0.5)), ", p99 ",
                  Microseconds(latency.Quantile(0.99)), ", p99.9 ",
                  Microseconds(latency.Quantile(0.999)), ", max ", Microseconds(latency.max_ns()),
                  "\n");
  absl::StrAppend(&text, "  engine ", io::EngineLevelName(result.in_force.engine));
  if (result.in_force.engine_errno != 0) {
    absl::StrAppend(&text, " (", io::ErrnoName(result.in_force.engine_errno), ": ",
                    result.in_force.engine_reason, ")");
  }
  absl::StrAppend(&text, ", ", arena::PageBackingPhrase(result.in_force.backing), ", ",
                  options.direct ? "direct" : "buffered", " I/O\n");
  for (absl::string_view line : absl::StrSplit(result.in_force.memory, '\n', absl::SkipEmpty())) {
    absl::StrAppend(&text, "  ", line, "\n");
  }
  if (result.most_in_flight < PagesInFlight(options)) {
    absl::StrAppend(&text, "  the device takes no more: at most ", result.most_in_flight,
                    " in flight, not ", PagesInFlight(options), "\n");
  }
  if (options.layer == Layer::kCache) AppendCache(result, &text);
#ifndef NDEBUG
  absl::StrAppend(&text,
                  "  compiled without optimisation (bazel: -c opt); do not quote these figures\n");
#endif
  if (options.verify) absl::StrAppend(&text, "  verified: every page read, and the whole file\n");
  return text;
}

}  // namespace fixpool::benchmarks
