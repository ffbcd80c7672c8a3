// That no byte which a frame held before is ever seen again or reaches a disk.

#include <unistd.h>

#include <cstring>
#include <span>
#include <string>

#include "absl/strings/match.h"
#include "fixpool/storage/page_cache.h"
#include "gtest/gtest.h"
#include "tests/storage/level_fixture.h"

namespace fixpool::tests {
namespace {

using storage::FileId;
using storage::ReadGuard;
using storage::WriteGuard;

constexpr char kMarker[] = "SECRET OF ANOTHER PAGE";

class PageCacheZerosTest : public LevelTest {
 protected:
  // Fills every frame with the marker, and lets go of them: evictable, or free.
  void SoilFrames(bool free) {
    const FileId file = *cache().OpenFile(scratch_.File("soil"), {.create = true});
    for (uint64_t page = 0; page < cache().frame_count(); ++page) {
      WriteGuard guard = *cache().Make({file, page});
      const std::span<std::byte> bytes = guard.mutable_bytes();
      for (size_t at = 0; at + sizeof(kMarker) <= bytes.size(); at += sizeof(kMarker)) {
        std::memcpy(&bytes[at], kMarker, sizeof(kMarker));
      }
    }
    ASSERT_TRUE(cache().Flush(file).ok());
    if (!free) return;
    ASSERT_TRUE(cache().CloseFile(file).ok());
    ASSERT_EQ(cache().Stats().free_frames, cache().frame_count());
  }

  static bool HasMarker(const std::string& text) { return absl::StrContains(text, "SECRET"); }

  // The whole story, on frames that were soiled in one way or the other.
  void MakeReadAndSearch(bool free) {
    FIXPOOL_START_OR_SKIP(6);
    SoilFrames(free);
    // Ends inside page 2, and begins with a hole of two pages.
    const std::string path = scratch_.File("clean");
    {
      const std::string text = std::string(2 * kPageBytes, '\0') + PageText(2).substr(0, 100);
      scratch_.MakeFile("clean", text);
      ASSERT_EQ(truncate(path.c_str(), 0), 0);
      ASSERT_EQ(truncate(path.c_str(), 2 * kPageBytes + 100), 0);
    }
    file_ = *cache().OpenFile(path);
    const std::string zeros(kPageBytes, '\0');
    for (uint64_t page = 0; page < 3; ++page) {
      EXPECT_TRUE(Text(cache().Read(Page(page))->bytes()) == zeros) << page;
    }
    // Past the end: written, made, and left out; the last becomes a hole that is not on disk.
    for (const uint64_t page : {4, 5}) {
      WriteGuard guard = *(page == 4 ? cache().Write(Page(page)) : cache().Make(Page(page)));
      EXPECT_TRUE(Text(guard.bytes()) == zeros) << page;
    }
    { WriteGuard guard = *cache().Write(Page(20)); }
    EXPECT_TRUE(Text(cache().Read(Page(3))->bytes()) == zeros);
    EXPECT_TRUE(Text(cache().Read(Page(12))->bytes()) == zeros);
    // The partial page grows to a whole one when it is written back.
    {
      WriteGuard guard = *cache().Write(Page(2));
      guard.mutable_bytes()[0] = std::byte{'x'};
    }
    // Enough of them to go through every frame.
    for (uint64_t page = 30; page < 60; ++page) {
      WriteGuard guard = *cache().Make(Page(page));
      guard.mutable_bytes()[page] = std::byte{'y'};
    }
    ASSERT_TRUE(cache().Flush(file_).ok());
    const std::string text = ReadWholeFile(path);
    EXPECT_EQ(text.size(), 60u * kPageBytes);
    EXPECT_FALSE(HasMarker(text));
    ASSERT_EQ(text[2 * kPageBytes], 'x');
    EXPECT_EQ(text.find_first_not_of(std::string("\0xy", 3)), std::string::npos);
    for (uint64_t page = 0; page < 60; ++page) {
      const ReadGuard guard = *cache().Read(Page(page));
      EXPECT_FALSE(HasMarker(Text(guard.bytes()))) << page;
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Levels, PageCacheZerosTest, AllLevels(), LevelName);

TEST_P(PageCacheZerosTest, RecycledFramesShowNothingOfTheirPast) { MakeReadAndSearch(false); }

TEST_P(PageCacheZerosTest, FreedFramesShowNothingOfTheirPast) { MakeReadAndSearch(true); }

TEST_P(PageCacheZerosTest, FailedReadLeavesNothingToSee) {
  FIXPOOL_START_OR_SKIP(4);
  SoilFrames(/*free=*/false);
  // The file is cut under the cache: its pages exist for the cache, and read as zeros.
  const std::string path = scratch_.MakeFile("cut", FileText(4));
  file_ = *cache().OpenFile(path);
  ASSERT_EQ(truncate(path.c_str(), kPageBytes + 700), 0);
  EXPECT_TRUE(Text(cache().Read(Page(0))->bytes()) == PageText(0));
  EXPECT_TRUE(Text(cache().Read(Page(1))->bytes()) ==
              PageText(1).substr(0, 700) + std::string(kPageBytes - 700, '\0'));
  EXPECT_TRUE(Text(cache().Read(Page(3))->bytes()) == std::string(kPageBytes, '\0'));
}

}  // namespace
}  // namespace fixpool::tests
