#ifndef FIXPOOL_TESTS_STORAGE_LEVEL_FIXTURE_H_
#define FIXPOOL_TESTS_STORAGE_LEVEL_FIXTURE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/storage/page_cache.h"
#include "gtest/gtest.h"
#include "tests/storage/cache_fixture.h"
#include "tests/support/recording_environment.h"
#include "tests/support/scratch.h"

namespace fixpool::tests {

// A test on the real kernel and a real file, once for each way to reach the kernel. Skipped,
// with the reason, where the machine does not have that way.
class LevelTest : public ::testing::TestWithParam<io::EngineLevel> {
 protected:
  // A cache of `frames` frames, or a skipped test: ask IsSkipped() afterwards.
  void Start(uint32_t frames, uint32_t page_bytes = kPageBytes) {
    absl::StatusOr<std::unique_ptr<storage::PageCache>> cache =
        storage::PageCache::Create({.memory_bytes = size_t{frames} * page_bytes,
                                    .region_bytes = region_bytes_,
                                    .page_bytes = page_bytes,
                                    .ladder = OrdinaryPages(),
                                    .engine = {.depth = 32, .require = GetParam()},
                                    .free_frames = free_frames_,
                                    .environment = &environment_});
    if (!cache.ok() &&
        (absl::IsUnimplemented(cache.status()) || absl::IsResourceExhausted(cache.status()))) {
      GTEST_SKIP() << cache.status();
    }
    ASSERT_TRUE(cache.ok()) << cache.status();
    cache_ = *std::move(cache);
  }
  void Stop() { cache_.reset(); }

  storage::PageCache& cache() { return *cache_; }
  storage::PageId Page(uint64_t page_number) const { return {file_, page_number}; }

  RecordingEnvironment environment_;
  ScratchDirectory scratch_;
  std::optional<uint32_t> free_frames_;  // of the next Start
  std::optional<size_t> region_bytes_;   // the same
  std::unique_ptr<storage::PageCache> cache_;
  storage::FileId file_;
};

#define FIXPOOL_START_OR_SKIP(...)           \
  do {                                       \
    Start(__VA_ARGS__);                      \
    if (IsSkipped() || HasFailure()) return; \
  } while (false)

inline auto AllLevels() {
  return ::testing::Values(io::EngineLevel::kUringFixed, io::EngineLevel::kUringPlain,
                           io::EngineLevel::kThreads);
}
inline std::string LevelName(const ::testing::TestParamInfo<io::EngineLevel>& info) {
  return std::string(io::EngineLevelName(info.param));
}

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_STORAGE_LEVEL_FIXTURE_H_
