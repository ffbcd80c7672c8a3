// write_back from the outside: its command line, its report, and what it leaves in the file.
// Counts are compared, and never times.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/types/span.h"
#include "benchmarks/verify_pattern.h"
#include "gtest/gtest.h"
#include "tests/benchmarks/running_program.h"
#include "tests/support/scratch.h"

namespace fixpool::tests {
namespace {

constexpr size_t kPageBytes = 4096;
constexpr size_t kFileBytes = 8 << 20;

double JsonNumber(const std::string& json, const std::string& key) {
  const std::string quoted = absl::StrCat("\"", key, "\": ");
  const size_t at = json.find(quoted);
  double number = -1;
  if (at != std::string::npos) {
    const size_t begin = at + quoted.size();
    (void)absl::SimpleAtod(json.substr(begin, json.find_first_of(",}", begin) - begin), &number);
  }
  EXPECT_GE(number, 0) << key << " in " << json;
  return number;
}

bool IsOf(uint64_t page, absl::Span<const std::byte> bytes, uint64_t sequence) {
  const benchmarks::PatternCheck found = benchmarks::CheckPattern(bytes, page * kPageBytes);
  return found.intact && !found.mixed && found.sequence == sequence;
}

class WriteBackTest : public testing::Test {
 protected:
  void SetUp() override {
    const int descriptor = open(scratch_.path().c_str(), O_TMPFILE | O_RDWR | O_DIRECT, 0600);
    direct_ = descriptor >= 0;
    if (direct_) close(descriptor);
  }

  // A short run with these arguments added; direct only where that is possible.
  ProgramResult RunShort(const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"benchmarks/write_back",
                                          absl::StrCat("--file=", file_),
                                          absl::StrCat("--file_bytes=", kFileBytes),
                                          "--cache_bytes=2m",
                                          "--depth=8",
                                          "--seconds=0.2",
                                          "--warm_up_seconds=2",
                                          absl::StrCat("--json=", json_)};
    if (!direct_) arguments.push_back("--nodirect");
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunningProgram(arguments, scratch_.path()).Wait();
  }

  void ExpectUsageError(const std::vector<std::string>& more, const std::string& part) {
    const ProgramResult result = RunShort(more);
    EXPECT_EQ(result.exit_code, 2) << part << ": " << result.err;
    EXPECT_TRUE(absl::StartsWith(result.err, "write_back: ")) << result.err;
    EXPECT_TRUE(absl::StrContains(result.err, part)) << part << ": " << result.err;
    EXPECT_FALSE(std::filesystem::exists(file_));
  }

  // Pages that hold what a writer makes of them: one sector of the pattern, and zeros. All others
  // are as they were.
  size_t CountChangedPages() {
    const std::string contents = ReadWholeFile(file_);
    EXPECT_EQ(contents.size(), kFileBytes);
    size_t changed = 0;
    std::vector<std::byte> bytes(kPageBytes);
    for (size_t page = 0; page < contents.size() / kPageBytes; ++page) {
      std::transform(contents.begin() + page * kPageBytes,
                     contents.begin() + (page + 1) * kPageBytes, bytes.begin(),
                     [](char c) { return static_cast<std::byte>(c); });
      const absl::Span<const std::byte> all(bytes);
      if (IsOf(page, all, 1)) continue;
      const bool zeros = std::all_of(bytes.begin() + benchmarks::kPatternSectorBytes, bytes.end(),
                                     [](std::byte b) { return b == std::byte{0}; });
      EXPECT_TRUE(zeros && IsOf(page, all.first(benchmarks::kPatternSectorBytes), 2)) << page;
      ++changed;
    }
    return changed;
  }

  const ScratchDirectory scratch_;
  std::string file_ = scratch_.File("data");
  std::string json_ = scratch_.File("report.json");
  bool direct_ = false;
};

TEST_F(WriteBackTest, HelpNamesTheFlagsAndSaysWhatDepthIs) {
  const ProgramResult result = RunShort({"--help"});
  EXPECT_EQ(result.exit_code, 0);
  for (const char* part :
       {"--file", "--depth", "--writers", "--readers", "--reads_per_second", "--writes_per_second",
        "--cache_bytes", "--rate_trace", "in flight at\nmost"}) {
    EXPECT_TRUE(absl::StrContains(result.out, part)) << part << ": " << result.out;
  }
}

TEST_F(WriteBackTest, RefusesWhatCannotBe) {
  ExpectUsageError({"--writers=0"}, "--writers is 1 to 256, not 0");
  ExpectUsageError({"--readers=257"}, "--readers is 0 to 256, not 257");
  ExpectUsageError({"--depth=0"}, "--depth is 1 to 3072, not 0");
  ExpectUsageError({"--depth=3073"}, "--depth is 1 to 3072");
  ExpectUsageError({"--seconds=0"}, "--seconds is more than 0");
  ExpectUsageError({"--dirty_share=1.5"}, "--dirty_share is 0 to 1");
  ExpectUsageError({"--writes_per_second=-1"}, "--writes_per_second is 0 to");
  ExpectUsageError({"--reads_per_second=10"}, "needs --readers");
  ExpectUsageError({"--page_bytes=3000"}, "power of two");
  ExpectUsageError({"--file_bytes=5000"}, "not a multiple");
  ExpectUsageError({"--cache_bytes=5m"}, "more than half of the file");
  ExpectUsageError({"--file="}, "--file needs a value");
  ExpectUsageError({"--threads=2"}, "there is no flag '--threads'");
}

TEST_F(WriteBackTest, WritesWhatWasMadeDirtyAndNothingElse) {
  const ProgramResult result = RunShort({"--writers=2"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const std::string json = ReadWholeFile(json_);
  EXPECT_GT(JsonNumber(json, "pages_written"), 0);
  EXPECT_GT(JsonNumber(json, "pages_dirtied"), 0);
  EXPECT_GT(JsonNumber(json, "background_writes"), 0);
  EXPECT_GT(JsonNumber(json, "write_transfers"), 0);
  EXPECT_LE(JsonNumber(json, "write_transfers"), JsonNumber(json, "pages_written") + 64);
  EXPECT_GT(JsonNumber(json, "mean_in_flight"), 0);
  // 8 for the background writer, and what is left for reads and evictions.
  EXPECT_LE(JsonNumber(json, "most_in_flight"), 10);
  EXPECT_LE(JsonNumber(json, "joined_share"), 1);
  EXPECT_EQ(JsonNumber(json, "reads"), 0);
  EXPECT_EQ(JsonNumber(json, "writer_depth"), 8);
  EXPECT_EQ(JsonNumber(json, "frame_count"), (2 << 20) / kPageBytes);
  EXPECT_TRUE(absl::StrContains(result.out, "pages written/s")) << result.out;
  EXPECT_GT(CountChangedPages(), (2u << 20) / kPageBytes);
}

TEST_F(WriteBackTest, ReadsBesideAtTheRateAskedFor) {
  const std::string trace = scratch_.File("trace");
  const ProgramResult result =
      RunShort({"--readers=2", "--reads_per_second=100", "--writes_per_second=500",
                "--warm_up_seconds=0", "--seconds=1", absl::StrCat("--rate_trace=", trace)});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const std::string json = ReadWholeFile(json_);
  // Slow machines do less; none does more.
  EXPECT_GT(JsonNumber(json, "reads"), 0);
  EXPECT_LE(JsonNumber(json, "reads"), 102);
  EXPECT_GT(JsonNumber(json, "pages_dirtied"), 0);
  EXPECT_LE(JsonNumber(json, "pages_dirtied"), 502);
  EXPECT_TRUE(absl::StrContains(result.out, "cold reads/s")) << result.out;
  const size_t changed = CountChangedPages();
  EXPECT_GT(changed, 0u);
  EXPECT_LE(changed, 502u);

  const std::vector<std::string> lines = absl::StrSplit(ReadWholeFile(trace), '\n');
  ASSERT_GT(lines.size(), 2u);
  EXPECT_EQ(lines.front(), "ms dirtied written dirty");
  double dirtied = 0;
  for (size_t i = 1; i + 1 < lines.size(); ++i) {
    const std::vector<std::string> numbers = absl::StrSplit(lines[i], ' ');
    ASSERT_EQ(numbers.size(), 4u) << lines[i];
    double of_line = -1;
    EXPECT_TRUE(absl::SimpleAtod(numbers[1], &of_line)) << lines[i];
    dirtied += of_line;
  }
  EXPECT_GT(dirtied, 0);
  EXPECT_LE(dirtied, 502);
}

TEST_F(WriteBackTest, AnEngineThatIsRequiredIsTheOneInForce) {
  const ProgramResult result = RunShort({"--engine=threads", "--warm_up_seconds=0"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(absl::StrContains(ReadWholeFile(json_), "\"engine\": \"threads\""));
}

}  // namespace
}  // namespace fixpool::tests
