#include "benchmarks/support/arena_memory.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "benchmarks/memory_need.h"
#include "benchmarks/support/bench_scale.h"
#include "fixpool/arena/format_bytes.h"

namespace fixpool::benchmarks {
namespace {

constexpr uint64_t kGiB = uint64_t{1} << 30;
constexpr uint64_t kWantedBytes = 8 * kGiB;
constexpr uint64_t kTinyBytes = uint64_t{8} << 20;

}  // namespace

uint64_t ArenaBytes() {
  if (Scale() == BenchScale::kTiny) return kTinyBytes;
  const uint64_t usable_bytes = AvailableBytes() / 4 * 3 / kGiB * kGiB;
  return std::clamp(usable_bytes, kGiB, kWantedBytes);
}

std::string DescribeMemory(uint64_t size_bytes, arena::PageBacking backing) {
  const bool short_of_memory = size_bytes < kWantedBytes && Scale() != BenchScale::kTiny;
  return absl::StrCat(arena::FormatBytes(size_bytes),
                      short_of_memory ? ", for want of more, " : ", ",
                      arena::PageBackingPhrase(backing));
}

}  // namespace fixpool::benchmarks
