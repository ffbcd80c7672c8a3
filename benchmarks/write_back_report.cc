#include "benchmarks/write_back_report.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "benchmarks/write_back_rates.h"
#include "fixpool/arena/format_bytes.h"
#include "fixpool/io/error.h"

namespace fixpool::benchmarks {
namespace {

constexpr int64_t kStretchNs = 100'000'000;

// A quotient that is 0, and not infinite, where nothing happened.
double Per(double amount, double divisor) { return divisor > 0 ? amount / divisor : 0; }

// What is derived from the counts.
struct Figures {
  explicit Figures(const WriteBackResult& result)
      : writes_per_second(Per(static_cast<double>(result.cache.writes), result.interval.seconds)),
        dirtied_per_second(Per(static_cast<double>(result.dirtied), result.interval.seconds)),
        reads_per_second(Per(static_cast<double>(result.reads.count()), result.interval.seconds)),
        cpu_ns_per_write(Per(static_cast<double>(result.interval.cpu_ns),
                             static_cast<double>(result.cache.writes))),
        joined_share(Per(static_cast<double>(result.cache.joined_writes),
                         static_cast<double>(result.write_transfers()))),
        enters_per_transfer(
            Per(static_cast<double>(result.kernel_enters), static_cast<double>(result.transfers))),
        variation(VariationOfWrites(result.samples, kStretchNs)),
        longest_pause_ms(static_cast<double>(LongestPauseNs(result.samples)) / 1e6) {}

  double writes_per_second;
  double dirtied_per_second;
  double reads_per_second;
  double cpu_ns_per_write;
  double joined_share;  // of the transfers that wrote
  double enters_per_transfer;
  double variation;
  double longest_pause_ms;
};

// The share of their time that the writers were held up.
double HeldUpShare(const WriteBackOptions& options, const WriteBackResult& result) {
  return Per(static_cast<double>(result.held_up_ns) / 1e9,
             result.interval.seconds * options.writers);
}

std::string JsonLatency(const LatencyHistogram& latency) {
  return absl::StrFormat("{\"p50\": %d, \"p99\": %d, \"p999\": %d, \"max\": %d}",
                         latency.Quantile(0.5), latency.Quantile(0.99), latency.Quantile(0.999),
                         latency.max_ns());
}

std::string TextLatency(const LatencyHistogram& latency) {
  const auto us = [](uint64_t ns) { return static_cast<double>(ns) / 1e3; };
  return absl::StrFormat("p50 %.1f, p99 %.1f, p99.9 %.1f, max %.1f", us(latency.Quantile(0.5)),
                         us(latency.Quantile(0.99)), us(latency.Quantile(0.999)),
                         us(latency.max_ns()));
}

void AppendReads(const WriteBackResult& result, const Figures& figures, std::string* text) {
  absl::StrAppendFormat(text, "  %.0f cold reads/s\n", figures.reads_per_second);
  absl::StrAppend(text, "    latency us: ", TextLatency(result.reads), "\n");
  absl::StrAppend(text, "    from the time it was due: ", TextLatency(result.reads_from_due), "\n");
}

void AppendInForce(const WriteBackOptions& options, const WriteBackResult& result,
                   std::string* text) {
  absl::StrAppend(text, "  engine ", io::EngineLevelName(result.in_force.engine));
  if (result.in_force.engine_errno != 0) {
    absl::StrAppend(text, " (", io::ErrnoName(result.in_force.engine_errno), ": ",
                    result.in_force.engine_reason, ")");
  }
  absl::StrAppend(text, ", ", arena::PageBackingPhrase(result.in_force.backing), ", ",
                  options.run.direct ? "direct" : "buffered", " I/O\n");
  for (absl::string_view line : absl::StrSplit(result.in_force.memory, '\n', absl::SkipEmpty())) {
    absl::StrAppend(text, "  ", line, "\n");
  }
  if (result.writer_depth < options.run.depth) {
    absl::StrAppend(text, "  the device takes no more: at most ", result.writer_depth,
                    " writes in flight, not ", options.run.depth, "\n");
  }
  if (!result.was_steady) {
    absl::StrAppend(text,
                    "  when it was measured, the cache was not full yet, or the number of "
                    "dirty pages not steady: a longer --warm_up_seconds may help\n");
  }
}

}  // namespace

std::string WriteBackJson(const WriteBackOptions& options, const WriteBackResult& result) {
  const Figures figures(result);
  // The words are ours and need no escaping.
  std::string json = absl::StrFormat(
      "{\"pages_written\": %d, \"seconds\": %.9f, \"writes_per_second\": %.3f, "
      "\"pages_dirtied\": %d, \"dirtied_per_second\": %.3f, \"cpu_ns_per_write\": %.3f, "
      "\"mean_in_flight\": %.3f, \"most_in_flight\": %d, \"write_transfers\": %d, "
      "\"joined_writes\": %d, \"joined_share\": %.6f, \"background_writes\": %d, "
      "\"eviction_writes\": %d, \"kernel_enters_per_transfer\": %.3f, ",
      result.cache.writes, result.interval.seconds, figures.writes_per_second, result.dirtied,
      figures.dirtied_per_second, figures.cpu_ns_per_write, result.mean_in_flight,
      result.most_in_flight, result.write_transfers(), result.cache.joined_writes,
      figures.joined_share, result.cache.background_writes, result.cache.eviction_writes,
      figures.enters_per_transfer);
  absl::StrAppendFormat(&json,
                        "\"waits\": %d, \"held_up_share\": %.6f, \"dirtying_latency_ns\": %s, "
                        "\"reads\": %d, \"reads_per_second\": %.3f, \"read_latency_ns\": %s, "
                        "\"read_latency_from_due_ns\": %s, ",
                        result.cache.waits, HeldUpShare(options, result),
                        JsonLatency(result.dirtying), result.reads.count(),
                        figures.reads_per_second, JsonLatency(result.reads),
                        JsonLatency(result.reads_from_due));
  absl::StrAppendFormat(&json,
                        "\"write_variation_100ms\": %.6f, \"longest_pause_ms\": %.3f, "
                        "\"steady\": %d, \"dirty_frames\": %d, \"frame_count\": %d, ",
                        figures.variation, figures.longest_pause_ms, result.was_steady ? 1 : 0,
                        result.cache.dirty_frames, result.cache.frame_count);
  absl::StrAppendFormat(
      &json,
      "\"engine\": \"%s\", \"engine_errno\": \"%s\", \"page_backing\": \"%s\", "
      "\"writer_depth\": %d, \"cache_bytes\": %d, \"page_bytes\": %d, \"writers\": %d, "
      "\"readers\": %d}\n",
      io::EngineLevelName(result.in_force.engine), io::ErrnoName(result.in_force.engine_errno),
      arena::PageBackingName(result.in_force.backing), result.writer_depth, options.run.cache_bytes,
      options.run.page_bytes, options.writers, options.readers);
  return json;
}

std::string WriteBackText(const WriteBackOptions& options, const WriteBackResult& result) {
  const Figures figures(result);
  const auto count = [](uint32_t number, const char* what) {
    return absl::StrCat(number, " ", what, number == 1 ? "" : "s");
  };
  std::string text =
      absl::StrFormat("random pages of %s of %s made dirty in a cache of %s by %s, %s\n",
                      arena::FormatBytes(options.run.page_bytes), options.run.file,
                      arena::FormatBytes(options.run.cache_bytes), count(options.writers, "thread"),
                      count(options.readers, "reader"));
  absl::StrAppendFormat(&text, "  %.0f pages written/s, %.1f MiB/s, CPU %.2f us a page\n",
                        figures.writes_per_second,
                        figures.writes_per_second * options.run.page_bytes / (1 << 20),
                        figures.cpu_ns_per_write / 1e3);
  absl::StrAppendFormat(
      &text, "  %d by the background writer, %d for an eviction; %.1f%% of transfers joined\n",
      result.cache.background_writes, result.cache.eviction_writes, figures.joined_share * 100);
  absl::StrAppendFormat(
      &text,
      "  in flight: %.1f on average, %d at most, of %d for the writer; %.2f kernel enters a "
      "transfer\n",
      result.mean_in_flight, result.most_in_flight, result.writer_depth,
      figures.enters_per_transfer);
  absl::StrAppendFormat(
      &text,
      "  %.0f pages dirtied/s; held up %.1f%% of the time; %d waits; %d of %d frames dirty\n",
      figures.dirtied_per_second, HeldUpShare(options, result) * 100, result.cache.waits,
      result.cache.dirty_frames, result.cache.frame_count);
  absl::StrAppend(&text, "    latency us: ", TextLatency(result.dirtying), "\n");
  absl::StrAppendFormat(&text,
                        "  written in 100 ms: varies by %.3f of the mean; longest pause %.0f ms\n",
                        figures.variation, figures.longest_pause_ms);
  if (options.readers > 0) AppendReads(result, figures, &text);
  AppendInForce(options, result, &text);
#ifndef NDEBUG
  absl::StrAppend(&text,
                  "  compiled without optimisation (bazel: -c opt); do not quote these figures\n");
#endif
  return text;
}

}  // namespace fixpool::benchmarks
