#include "fixpool/arena/kernel_text.h"

#include <cerrno>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "fixpool/io/error.h"
#include "gtest/gtest.h"
#include "tests/support/scratch.h"

namespace fixpool::arena {
namespace {

class KernelTextTest : public ::testing::Test {
 protected:
  std::string FileWith(const std::string& content) {
    return scratch_.MakeFile("text" + std::to_string(++files_), content);
  }

 private:
  const tests::ScratchDirectory scratch_;
  int files_ = 0;
};

std::vector<std::string> LinesOf(const std::string& path) {
  std::vector<std::string> lines;
  const absl::Status status = ForEachKernelLine(path, [&lines](absl::string_view line) {
    lines.emplace_back(line);
    return true;
  });
  EXPECT_TRUE(status.ok()) << status;
  return lines;
}

TEST_F(KernelTextTest, GivesEveryLineWhole) {
  const std::string longer_than_a_block(5000, 'x');
  EXPECT_EQ(LinesOf(FileWith("one\n\n" + longer_than_a_block + "\nlast\n")),
            (std::vector<std::string>{"one", "", longer_than_a_block, "last"}));
}

TEST_F(KernelTextTest, GivesALastLineWithoutNewline) {
  EXPECT_EQ(LinesOf(FileWith("one\ntwo")), (std::vector<std::string>{"one", "two"}));
}

TEST_F(KernelTextTest, StopsWhenTold) {
  int lines = 0;
  ASSERT_TRUE(ForEachKernelLine(FileWith("one\ntwo\nthree\n"), [&lines](absl::string_view) {
                return ++lines < 2;
              }).ok());
  EXPECT_EQ(lines, 2);
}

TEST_F(KernelTextTest, NamesAFileThatIsNotThere) {
  const absl::Status status = ReadKernelLine("/proc/no_such_file").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(io::ErrnoOf(status), ENOENT);
  EXPECT_NE(status.message().find("/proc/no_such_file"), absl::string_view::npos);
}

TEST_F(KernelTextTest, ReportsAFileThatCannotBeRead) {
  const absl::Status status = ReadKernelLine("/proc").status();
  EXPECT_EQ(io::ErrnoOf(status), EISDIR);
}

TEST_F(KernelTextTest, ReadsTheFirstLine) {
  EXPECT_EQ(ReadKernelLine(FileWith("always [madvise] never\nmore\n")).value(),
            "always [madvise] never");
  EXPECT_TRUE(absl::IsDataLoss(ReadKernelLine(FileWith("")).status()));
}

TEST_F(KernelTextTest, ReadsANumber) {
  EXPECT_EQ(ReadKernelNumber(FileWith("512\n")).value(), 512u);
  EXPECT_TRUE(absl::IsDataLoss(ReadKernelNumber(FileWith("many\n")).status()));
  EXPECT_TRUE(absl::IsNotFound(ReadKernelNumber("/proc/no_such_file").status()));
}

}  // namespace
}  // namespace fixpool::arena
