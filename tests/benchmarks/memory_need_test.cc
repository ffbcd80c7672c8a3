#include "benchmarks/memory_need.h"

#include <cstdint>

#include "benchmarks/exit_code.h"
#include "gtest/gtest.h"

namespace fixpool::benchmarks {
namespace {

constexpr uint64_t kGib = uint64_t{1} << 30;

PageIoOptions CacheOptions() {
  PageIoOptions options;
  options.layer = Layer::kCache;
  options.page_bytes = 4096;
  return options;
}

TEST(AvailableBytesTest, CountsHugePagesToo) {
  EXPECT_EQ(AvailableBytes("MemTotal:  100 kB\nMemAvailable:     64 kB\n"
                           "HugePages_Total:  9\nHugePages_Free:   3\nHugepagesize:  2048 kB\n"),
            64u * 1024 + 3u * (2u << 20));
}

TEST(AvailableBytesTest, IsZeroWhereNothingIsSaid) { EXPECT_EQ(AvailableBytes("Mem: x\n"), 0u); }

TEST(AvailableBytesTest, ThisMachineHasSome) { EXPECT_GT(AvailableBytes(), 1u << 20); }

TEST(MemoryNeedTest, EngineNeedsWhatIsInFlight) {
  PageIoOptions options;
  options.depth = 32;
  options.threads = 2;
  EXPECT_EQ(MemoryNeed(options, kGib, kGib).value(), 64u * 4096);
}

TEST(MemoryNeedTest, RefusesMorePagesInFlightThanMemory) {
  PageIoOptions options;
  options.depth = 4096;
  options.threads = 256;
  options.page_bytes = 1 << 20;
  EXPECT_EQ(ExitCodeOf(MemoryNeed(options, kGib, 16 * kGib).status()), kExitUsage);
}

TEST(MemoryNeedTest, CacheIsAQuarterOfTheFile) {
  EXPECT_EQ(MemoryNeed(CacheOptions(), 4 * kGib, 16 * kGib).value(), kGib);
}

TEST(MemoryNeedTest, CacheLeavesHalfOfTheMemory) {
  EXPECT_EQ(MemoryNeed(CacheOptions(), 400 * kGib, 16 * kGib).value(), 8 * kGib);
}

TEST(MemoryNeedTest, CacheOfASmallFileHoldsWhatIsInFlight) {
  PageIoOptions options = CacheOptions();
  options.depth = 128;
  EXPECT_GE(MemoryNeed(options, 1 << 20, 16 * kGib).value(), (128 + kCacheSlackPages) * 4096);
}

TEST(MemoryNeedTest, RefusesACacheTooSmallForItsDepth) {
  PageIoOptions options = CacheOptions();
  options.depth = 128;
  options.cache_bytes = (128 + kCacheSlackPages) * 4096;
  EXPECT_EQ(MemoryNeed(options, kGib, 16 * kGib).value(), options.cache_bytes);
  --options.cache_bytes;
  EXPECT_EQ(ExitCodeOf(MemoryNeed(options, kGib, 16 * kGib).status()), kExitUsage);
}

TEST(MemoryNeedTest, RefusesACacheLargerThanMemory) {
  PageIoOptions options = CacheOptions();
  options.cache_bytes = 17 * kGib;
  EXPECT_EQ(ExitCodeOf(MemoryNeed(options, kGib, 16 * kGib).status()), kExitUsage);
}

}  // namespace
}  // namespace fixpool::benchmarks
