#include "benchmarks/page_file.h"

#include <sys/stat.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/match.h"
#include "benchmarks/exit_code.h"
#include "gtest/gtest.h"
#include "tests/support/scratch.h"

namespace fixpool::benchmarks {
namespace {

class PageFileTest : public testing::Test {
 protected:
  PageFileTest() {
    options_.file = path_;
    options_.direct = false;
  }

  void Put(const std::string& text) { scratch_.MakeFile("data", text); }
  std::string Contents() const { return tests::ReadWholeFile(path_); }

  void Flip(size_t at) {
    std::fstream file(path_, std::ios::in | std::ios::out);
    file.seekg(static_cast<std::streamoff>(at));
    const char changed = static_cast<char>(file.get() ^ 1);
    file.seekp(static_cast<std::streamoff>(at));
    file.put(changed);
  }

  absl::Status Prepare() {
    auto file = PageFile::Inspect(options_);
    return file.ok() ? file->Prepare() : file.status();
  }

  // Learns all pages and checks them again.
  absl::Status LearnAndCheck() {
    auto file = PageFile::Inspect(options_);
    if (!file.ok()) return file.status();
    PageLedger ledger(file->pages(), file->page_bytes());
    if (absl::Status status = file->LearnInto(ledger); !status.ok()) return status;
    return file->CheckAgainst(ledger);
  }

  const tests::ScratchDirectory scratch_;
  const std::string path_ = scratch_.File("data");
  PageIoOptions options_;
};

TEST_F(PageFileTest, MakesAMissingFileWithoutZeros) {
  options_.file_bytes = 3 << 20;
  ASSERT_TRUE(Prepare().ok());
  struct stat found;
  ASSERT_EQ(stat(path_.c_str(), &found), 0);
  EXPECT_EQ(found.st_size, 3 << 20);
  EXPECT_GE(found.st_blocks * 512, found.st_size);
  const std::string contents = Contents();
  const std::string zeros(512, '\0');
  for (size_t at = 0; at < contents.size(); at += 512) {
    ASSERT_NE(contents.compare(at, 512, zeros), 0) << at;
  }
  EXPECT_TRUE(LearnAndCheck().ok());
}

TEST_F(PageFileTest, FinishesAFileWhoseFillingWasInterrupted) {
  options_.file_bytes = 3 << 20;
  ASSERT_TRUE(Prepare().ok());
  const std::string whole = Contents();
  std::filesystem::resize_file(path_, 1'234'567);
  ASSERT_TRUE(Prepare().ok());
  EXPECT_TRUE(Contents() == whole);
}

TEST_F(PageFileTest, InspectingMakesNothing) {
  options_.file_bytes = 1 << 20;
  const auto file = PageFile::Inspect(options_);
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE(file->is_new());
  EXPECT_EQ(file->pages(), 256u);
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(PageFileTest, LengthensAShortFileAndKeepsWhatItHolds) {
  Put(std::string(5000, 'x'));
  options_.file_bytes = 1 << 20;
  ASSERT_TRUE(Prepare().ok());
  const std::string contents = Contents();
  EXPECT_EQ(contents.size(), 1u << 20);
  EXPECT_EQ(contents.substr(0, 5000), std::string(5000, 'x'));
  EXPECT_NE(contents.substr(5000, 512), std::string(512, '\0'));
}

TEST_F(PageFileTest, LeavesALongEnoughFileAlone) {
  const std::string text(10'000, 'x');
  Put(text);
  options_.file_bytes = 8192;
  for (const Operation operation : {Operation::kRead, Operation::kWrite, Operation::kMixed}) {
    options_.operation = operation;
    ASSERT_TRUE(Prepare().ok());
    EXPECT_EQ(Contents(), text);
  }
}

TEST_F(PageFileTest, UsesTheWholePagesOfAFile) {
  Put(std::string(10'000, 'x'));
  EXPECT_EQ(PageFile::Inspect(options_)->file_bytes(), 8192u);
}

TEST_F(PageFileTest, WritesAllAnewToVerifyWrites) {
  Put(std::string(10'000, 'x'));
  options_.file_bytes = 8192;
  options_.operation = Operation::kWrite;
  options_.verify = true;
  ASSERT_TRUE(Prepare().ok());
  EXPECT_TRUE(LearnAndCheck().ok());
  EXPECT_EQ(Contents().substr(8192), std::string(10'000 - 8192, 'x'));
}

TEST_F(PageFileTest, RefusesToVerifyReadsOfAForeignFile) {
  const std::string text(8192, 'x');
  Put(text);
  options_.verify = true;
  const absl::Status status = Prepare();
  EXPECT_EQ(ExitCodeOf(status), kExitUsage);
  EXPECT_TRUE(absl::StrContains(status.message(), "holds nothing that page_io wrote")) << status;
  options_.file_bytes = 1 << 20;  // nor is it made longer
  EXPECT_EQ(ExitCodeOf(Prepare()), kExitUsage);
  EXPECT_EQ(Contents(), text);
}

TEST_F(PageFileTest, VerifiesReadsOfItsOwnFileWithAnyPageSize) {
  options_.file_bytes = 1 << 20;
  ASSERT_TRUE(Prepare().ok());
  options_.verify = true;
  for (const uint32_t page_bytes : {512, 4096, 65536}) {
    options_.page_bytes = page_bytes;
    EXPECT_TRUE(LearnAndCheck().ok());
  }
}

TEST_F(PageFileTest, FindsOneWrongByte) {
  options_.file_bytes = 1 << 20;
  ASSERT_TRUE(Prepare().ok());
  options_.verify = true;
  Flip(777'777);
  const absl::Status status = LearnAndCheck();
  EXPECT_EQ(ExitCodeOf(status), kExitWrongData);
  EXPECT_TRUE(absl::StrContains(status.message(), "page 189 ")) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "at 777777 in the file")) << status;
}

TEST_F(PageFileTest, RefusesWhatIsNoFile) {
  options_.file_bytes = 4096;
  for (const char* path : {"/", "/dev/null", "/nowhere/at/all", "/etc/hostname/below"}) {
    options_.file = path;
    EXPECT_EQ(ExitCodeOf(PageFile::Inspect(options_).status()), kExitUsage) << path;
  }
}

TEST_F(PageFileTest, RefusesToMakeAFileOfUnknownSize) {
  EXPECT_EQ(ExitCodeOf(PageFile::Inspect(options_).status()), kExitUsage);
  Put("less than a page");
  EXPECT_EQ(ExitCodeOf(PageFile::Inspect(options_).status()), kExitUsage);
}

TEST_F(PageFileTest, RefusesAFileLargerThanTheFileSystem) {
  options_.file_bytes = uint64_t{1} << 60;
  const absl::Status status = PageFile::Inspect(options_).status();
  EXPECT_EQ(ExitCodeOf(status), kExitUsage);
  EXPECT_TRUE(absl::StrContains(status.message(), "are free")) << status;
  EXPECT_FALSE(std::filesystem::exists(path_));
}

}  // namespace
}  // namespace fixpool::benchmarks
