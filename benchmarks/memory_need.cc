#include "benchmarks/memory_need.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "benchmarks/exit_code.h"

namespace fixpool::benchmarks {
namespace {

// The number behind `key` in "key:   123 kB"; 0 if it is not there.
uint64_t MeminfoNumber(absl::string_view meminfo, absl::string_view key) {
  for (absl::string_view line : absl::StrSplit(meminfo, '\n')) {
    if (!absl::ConsumePrefix(&line, key) || !absl::ConsumePrefix(&line, ":")) continue;
    absl::ConsumeSuffix(&line, "kB");
    uint64_t number = 0;
    return absl::SimpleAtoi(absl::StripAsciiWhitespace(line), &number) ? number : 0;
  }
  return 0;
}

absl::StatusOr<uint64_t> CacheNeed(const PageIoOptions& options, uint64_t file_bytes,
                                   uint64_t available_bytes) {
  const uint64_t least_bytes = (PagesInFlight(options) + kCacheSlackPages) * options.page_bytes;
  if (options.cache_bytes == 0) {
    // Prefetched pages must survive until they are used; see cache_runner.cc.
    const uint64_t good_bytes = 16 * PagesInFlight(options) * options.page_bytes;
    const uint64_t share_bytes = std::min(file_bytes / 4, available_bytes / 2);
    const uint64_t chosen_bytes = std::max({least_bytes, good_bytes, share_bytes});
    return chosen_bytes / options.page_bytes * options.page_bytes;
  }
  if (options.cache_bytes >= least_bytes) return options.cache_bytes;
  return UsageError(absl::StrCat("--cache_bytes, ", options.cache_bytes, ", is too small for ",
                                 PagesInFlight(options), " pages in flight: it takes at least ",
                                 least_bytes));
}

}  // namespace

uint64_t AvailableBytes(absl::string_view meminfo) {
  const uint64_t kib =
      MeminfoNumber(meminfo, "MemAvailable") +
      MeminfoNumber(meminfo, "HugePages_Free") * MeminfoNumber(meminfo, "Hugepagesize");
  return kib * 1024;
}

uint64_t AvailableBytes() {
  std::ifstream file("/proc/meminfo");
  std::stringstream text;
  text << file.rdbuf();
  const uint64_t available_bytes = AvailableBytes(text.str());
  if (available_bytes != 0) return available_bytes;
  return static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) *
         static_cast<uint64_t>(sysconf(_SC_PAGE_SIZE));
}

absl::StatusOr<uint64_t> MemoryNeed(const PageIoOptions& options, uint64_t file_bytes,
                                    uint64_t available_bytes) {
  absl::StatusOr<uint64_t> need_bytes = PagesInFlight(options) * options.page_bytes;
  if (options.layer == Layer::kCache) {
    need_bytes = CacheNeed(options, file_bytes, available_bytes);
    if (!need_bytes.ok()) return need_bytes;
  }
  if (*need_bytes <= available_bytes) return need_bytes;
  return UsageError(absl::StrCat(
      options.layer == Layer::kCache ? "the cache" : "--depth times --threads times --page_bytes",
      " needs ", *need_bytes, " bytes of memory, and ", available_bytes, " are available"));
}

}  // namespace fixpool::benchmarks
