// PageCache::OpenFile of a file that the caller has opened, or made up.

#include <cerrno>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/io/error.h"
#include "fixpool/io/file.h"
#include "fixpool/storage/file_options.h"
#include "fixpool/storage/page_cache.h"
#include "gtest/gtest.h"
#include "tests/storage/cache_fixture.h"

namespace fixpool::tests {
namespace {

using io::File;
using storage::FileId;
using storage::PageCache;

// No descriptor stands for it.
class MadeUpFile final : public File {
 public:
  struct Facts {
    absl::StatusOr<uint64_t> size_bytes = 0;
    uint32_t alignment_bytes = 512;
    bool read_only = false;
  };
  explicit MadeUpFile(Facts facts)
      : File({.path = "made up",
              .device = 7,
              .inode = 7,
              .alignment = {.memory_bytes = facts.alignment_bytes,
                            .offset_bytes = facts.alignment_bytes},
              .read_only = facts.read_only}),
        facts_(std::move(facts)) {}

  absl::StatusOr<uint64_t> SizeBytes() const override { return facts_.size_bytes; }
  absl::Status Preallocate(uint64_t offset_bytes, uint64_t length_bytes) override {
    facts_.size_bytes = offset_bytes + length_bytes;
    return absl::OkStatus();
  }

 private:
  Facts facts_;
};

class OpenGivenFileTest : public FakeCacheTest {
 protected:
  // A cache with one file open, and another that is there.
  void SetUp() override {
    Start(/*frames=*/8, /*pages=*/4);
    other_ = scratch_.MakeFile("other.db", FileText(3));
  }
  absl::StatusOr<FileId> Open(MadeUpFile::Facts facts, storage::FileOptions options = {}) {
    return cache().OpenFile(std::make_shared<MadeUpFile>(std::move(facts)), options);
  }

  std::string other_;
};

TEST_F(OpenGivenFileTest, IsReadWrittenAndFlushedLikeAnyOther) {
  const absl::StatusOr<FileId> file = cache().OpenFile(*File::Open(other_));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(*cache().PageCount(*file), 3u);
  {
    auto page = cache().Write({*file, 1});
    ASSERT_TRUE(page.ok()) << page.status();
    EXPECT_TRUE(Text(page->bytes()) == PageText(1));
    Put(*page, PageText(1, 9));
  }
  EXPECT_TRUE(cache().CloseFile(*file).ok());
  const absl::StatusOr<FileId> again = cache().OpenFile(other_);
  ASSERT_TRUE(again.ok()) << again.status();
  auto page = cache().Read({*again, 1});
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_TRUE(Text(page->bytes()) == PageText(1, 9));
}

TEST_F(OpenGivenFileTest, RefusesNull) {
  EXPECT_TRUE(absl::IsInvalidArgument(cache().OpenFile(std::shared_ptr<File>()).status()));
}

TEST_F(OpenGivenFileTest, RefusesAFileThatIsOpenInThisCache) {
  std::shared_ptr<File> file = *File::Open(path_, {.read_only = true});
  EXPECT_TRUE(absl::IsFailedPrecondition(cache().OpenFile(std::move(file)).status()));
}

TEST_F(OpenGivenFileTest, TheFileDecidesWhetherItCanBeWritten) {
  // And not the options, which are about opening.
  const absl::StatusOr<FileId> file = Open({.size_bytes = kPageBytes, .read_only = true});
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(absl::IsFailedPrecondition(cache().Make({*file, 0}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      Open({.read_only = true}, {.preallocate_bytes = kPageBytes}).status()));
}

TEST_F(OpenGivenFileTest, AsksTheFileForItsSizeAndForSpace) {
  const absl::StatusOr<FileId> file =
      Open({.size_bytes = 1000}, {.preallocate_bytes = 2 * kPageBytes + 1});
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(*cache().PageCount(*file), 3u);
}

TEST_F(OpenGivenFileTest, PassesOnWhyTheSizeCannotBeHad) {
  const absl::Status status = Open({.size_bytes = io::ErrnoStatus(EIO, "made up")}).status();
  EXPECT_EQ(io::ErrnoOf(status), EIO) << status;
}

TEST_F(OpenGivenFileTest, RefusesPagesThatItsAlignmentDoesNotTake) {
  const absl::Status status = Open({.alignment_bytes = 2 * kPageBytes}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
}

}  // namespace
}  // namespace fixpool::tests
