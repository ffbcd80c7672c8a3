#ifndef FIXPOOL_TESTS_STORAGE_CACHE_FIXTURE_H_
#define FIXPOOL_TESTS_STORAGE_CACHE_FIXTURE_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "fixpool/arena/page_arena.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/open_engine.h"
#include "fixpool/storage/page_cache.h"
#include "gtest/gtest.h"
#include "tests/support/fake_engine.h"
#include "tests/support/manual_environment.h"
#include "tests/support/scratch.h"

namespace fixpool::tests {

inline constexpr uint32_t kPageBytes = 4096;

// A page's worth of bytes that tell the page and the version.
inline std::string PageText(uint64_t page_number, uint64_t version = 0) {
  return PatternBytes(page_number * 1000 + version + 1, kPageBytes);
}

// The contents of a file with `pages` of these.
inline std::string FileText(uint64_t pages) {
  std::string text;
  for (uint64_t page = 0; page < pages; ++page) text += PageText(page);
  return text;
}

inline std::string Text(std::span<const std::byte> bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

inline void Put(storage::WriteGuard& page, const std::string& text) {
  const std::span<std::byte> bytes = page.mutable_bytes();
  ASSERT_EQ(bytes.size(), text.size());
  std::memcpy(bytes.data(), text.data(), text.size());
}

// Ordinary memory: huge pages are none of these tests' business, and slow to get.
inline arena::Ladder OrdinaryPages() { return arena::Ladder::Only(arena::PageBacking::k4KiB); }

// A cache on a FakeEngine. Destroyed from the last member to the first.
struct FakeStack {
  explicit FakeStack(io::Environment* environment, uint32_t frames,
                     FakeEngine::Options options = {},
                     size_t read_ahead_bytes = storage::PageCache::kDefaultReadAheadBytes)
      : FakeStack(environment, options,
                  {.frame_count = frames, .free_frames = 0, .read_ahead_bytes = read_ahead_bytes}) {
  }
  FakeStack(io::Environment* environment, FakeEngine::Options options,
            const storage::PageCache::PartsOptions& cache_options) {
    registry = *io::FixedBufferRegistry::Create({.environment = environment});
    arena = *arena::PageArena::Create(
        registry.get(),
        {.size_bytes = cache_options.frame_count * kPageBytes, .ladder = OrdinaryPages()});
    engine = std::make_unique<FakeEngine>(registry.get(), options);
    cache = *storage::PageCache::Create(arena.get(), engine.get(), cache_options);
  }

  std::unique_ptr<io::FixedBufferRegistry> registry;
  std::unique_ptr<arena::PageArena> arena;
  std::unique_ptr<FakeEngine> engine;
  std::unique_ptr<storage::PageCache> cache;
};

// A single-threaded test on a FakeEngine, in which waiting takes no time.
class FakeCacheTest : public ::testing::Test {
 protected:
  // A cache of `frames` frames and an open file of `pages` pages.
  void Start(uint32_t frames, uint64_t pages, FakeEngine::Options options = {},
             size_t read_ahead_bytes = storage::PageCache::kDefaultReadAheadBytes) {
    path_ = scratch_.MakeFile("data.db", FileText(pages));
    stack_.emplace(&environment_, frames, options, read_ahead_bytes);
    file_ = *cache().OpenFile(path_);
  }
  // The same of a cache with other options.
  void StartWith(const storage::PageCache::PartsOptions& cache_options, uint64_t pages,
                 FakeEngine::Options options = {}) {
    path_ = scratch_.MakeFile("data.db", FileText(pages));
    stack_.emplace(&environment_, options, cache_options);
    file_ = *cache().OpenFile(path_);
  }

  storage::PageCache& cache() { return *stack_->cache; }
  FakeEngine& engine() { return *stack_->engine; }
  storage::PageId Page(uint64_t page_number) const { return {file_, page_number}; }

  // Writes `version` of the page and lets it go.
  void Change(uint64_t page_number, uint64_t version = 1) {
    absl::StatusOr<storage::WriteGuard> page = cache().Write(Page(page_number));
    ASSERT_TRUE(page.ok()) << page.status();
    Put(*page, PageText(page_number, version));
  }
  // Expects to read that version.
  void ExpectVersion(uint64_t page_number, uint64_t version) {
    absl::StatusOr<storage::ReadGuard> page = cache().Read(Page(page_number));
    ASSERT_TRUE(page.ok()) << page.status();
    EXPECT_TRUE(Text(page->bytes()) == PageText(page_number, version)) << "page " << page_number;
  }

  ManualEnvironment environment_;
  ScratchDirectory scratch_;
  std::string path_;
  std::optional<FakeStack> stack_;
  storage::FileId file_;
};

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_STORAGE_CACHE_FIXTURE_H_
