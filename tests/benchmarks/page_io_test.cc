// page_io from the outside: its command line, exit codes, report, and what it does to files.

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "tests/benchmarks/running_program.h"
#include "tests/support/child_process.h"
#include "tests/support/scratch.h"

namespace fixpool::tests {
namespace {

constexpr size_t kFileBytes = 4 << 20;

// The value of a key of the report, wherever in it; keys are unique.
std::string JsonText(const std::string& json, const std::string& key) {
  const std::string quoted = absl::StrCat("\"", key, "\": ");
  const size_t at = json.find(quoted);
  if (at == std::string::npos) {
    ADD_FAILURE() << "no " << key << " in " << json;
    return "";
  }
  const size_t begin = at + quoted.size();
  return json.substr(begin, json.find_first_of(",}", begin) - begin);
}

double JsonNumber(const std::string& json, const std::string& key) {
  double number = -1;
  EXPECT_TRUE(absl::SimpleAtod(JsonText(json, key), &number)) << key << " in " << json;
  return number;
}

class PageIoTest : public testing::Test {
 protected:
  void SetUp() override {
    const int descriptor = open(scratch_.path().c_str(), O_TMPFILE | O_RDWR | O_DIRECT, 0600);
    direct_ = descriptor >= 0;
    if (direct_) close(descriptor);
  }

  ProgramResult Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), program_);
    return RunningProgram(arguments, directory_).Wait();
  }

  // A short run on file_ with these arguments added; direct only where that is possible.
  ProgramResult RunShort(const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {absl::StrCat("--file=", file_),
                                          absl::StrCat("--file_bytes=", kFileBytes),
                                          "--seconds=0.1", absl::StrCat("--json=", json_)};
    if (!direct_) arguments.push_back("--nodirect");
    arguments.insert(arguments.end(), more.begin(), more.end());
    std::filesystem::remove(json_);
    return Run(arguments);
  }

  void ExpectUsageError(const std::vector<std::string>& arguments, const std::string& part) {
    const ProgramResult result = Run(arguments);
    const std::string line = absl::StrJoin(arguments, " ");
    EXPECT_EQ(result.exit_code, 2) << line << ": " << result.err;
    EXPECT_EQ(result.out, "") << line;
    EXPECT_TRUE(absl::StartsWith(result.err, "page_io: ")) << line << ": " << result.err;
    EXPECT_TRUE(absl::StrContains(result.err, part)) << line << ": " << result.err;
    // One sentence, in one line.
    EXPECT_EQ(result.err.find('\n'), result.err.size() - 1) << line << ": " << result.err;
  }

  void FlipByte(size_t at) {
    const int descriptor = open(file_.c_str(), O_RDWR);
    char byte = 0;
    ASSERT_EQ(pread(descriptor, &byte, 1, static_cast<off_t>(at)), 1);
    byte ^= 0x10;
    ASSERT_EQ(pwrite(descriptor, &byte, 1, static_cast<off_t>(at)), 1);
    ASSERT_EQ(fsync(descriptor), 0);
    close(descriptor);
  }

  const ScratchDirectory scratch_;
  std::string program_ = PageIo();
  std::string directory_ = scratch_.path();
  std::string file_ = scratch_.File("data");
  std::string json_ = scratch_.File("report.json");
  bool direct_ = false;
};

TEST_F(PageIoTest, HelpSucceedsAndNamesTheFlags) {
  const ProgramResult result = Run({"--help"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.err, "");
  for (const char* flag : {"--file", "--file_bytes", "--page_bytes", "--pattern", "--operation",
                           "--depth", "--threads", "--engine", "--layer", "--cache_bytes",
                           "--pages", "--direct", "--seconds", "--seed", "--verify", "--json"}) {
    EXPECT_TRUE(absl::StrContains(result.out, flag)) << flag;
  }
}

TEST_F(PageIoTest, RefusesBadCommandLines) {
  const std::string file = absl::StrCat("--file=", file_);
  const std::string size = "--file_bytes=4m";
  ExpectUsageError({}, "--file is required");
  ExpectUsageError({file, size, "--wibble"}, "there is no flag '--wibble'");
  ExpectUsageError({file, size, "positional"}, "'positional' is not a flag");
  ExpectUsageError({file, size, "--depth"}, "--depth needs a value");
  ExpectUsageError({file, size, "--depth=0"}, "--depth is 1 to 4096, not 0");
  ExpectUsageError({file, size, "--depth=-3"}, "depth");
  ExpectUsageError({file, size, "--threads=0"}, "--threads is 1 to 256, not 0");
  ExpectUsageError({file, size, "--seconds=-1"}, "--seconds is more than 0");
  ExpectUsageError({file, size, "--pattern=spiral"}, "random, sequential");
  ExpectUsageError({file, size, "--operation=erase"}, "read, write, mixed");
  ExpectUsageError({file, size, "--engine=aio"}, "uring_fixed");
  ExpectUsageError({file, size, "--layer=disk"}, "engine, cache");
  ExpectUsageError({file, size, "--pages=16k"}, "thp");
  ExpectUsageError({file, size, "--page_bytes=3000"}, "power of two");
  ExpectUsageError({file, size, "--page_bytes=512"}, "power of two from 4096");
  ExpectUsageError({file, "--file_bytes=-1"}, "whole number");
  ExpectUsageError({file, "--file_bytes=0"}, "more than 0");
  ExpectUsageError({file, "--file_bytes=99999999999999999999"}, "64 bits");
  ExpectUsageError({file, "--file_bytes=5000"}, "not a multiple");
  ExpectUsageError({file, "--file_bytes=1048576t"}, "are free");
  EXPECT_FALSE(std::filesystem::exists(file_));
}

TEST_F(PageIoTest, RefusesFilesThatCannotBeUsed) {
  ExpectUsageError({absl::StrCat("--file=", file_)}, "does not exist");
  ExpectUsageError({absl::StrCat("--file=", scratch_.path())}, "is a directory");
  ExpectUsageError({"--file=/nowhere/at/all", "--file_bytes=4m"}, "No such file");
  ExpectUsageError({"--file=/dev/null", "--file_bytes=4m"}, "neither a regular file");
  scratch_.MakeFile("data", "short");
  ExpectUsageError({absl::StrCat("--file=", file_)}, "less than one page");
}

TEST_F(PageIoTest, RefusesAReportThatCannotBeWritten) {
  const std::string file = absl::StrCat("--file=", file_);
  ExpectUsageError({file, "--file_bytes=4m", "--json=/nowhere/at/all"}, "cannot be written");
  ExpectUsageError({file, "--file_bytes=4m", absl::StrCat("--json=", scratch_.path())},
                   "cannot be written");
  ExpectUsageError({file, "--file_bytes=4m", absl::StrCat("--json=", file_)},
                   "the file to be measured");
  EXPECT_FALSE(std::filesystem::exists(file_));
}

TEST_F(PageIoTest, RefusesACacheThatCannotBe) {
  const std::vector<std::string> base = {absl::StrCat("--file=", file_), "--file_bytes=4m",
                                         "--layer=cache"};
  const auto with = [&base](std::vector<std::string> more) {
    more.insert(more.begin(), base.begin(), base.end());
    return more;
  };
  ExpectUsageError(with({"--cache_bytes=1024t"}), "are available");
  ExpectUsageError(with({"--cache_bytes=1m", "--depth=256"}), "is too small for 256 pages");
  ExpectUsageError(with({"--depth=4096", "--threads=256", "--page_bytes=1m"}), "are available");
  EXPECT_FALSE(std::filesystem::exists(file_));
}

TEST_F(PageIoTest, VerifyNeedsAPageForEachTransfer) {
  ExpectUsageError({absl::StrCat("--file=", file_), "--file_bytes=64k", "--verify", "--depth=17"},
                   "--verify needs as many pages");
}

TEST_F(PageIoTest, ReportsWhatItDid) {
  const ProgramResult result = RunShort({"--depth=8", "--threads=2"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(absl::StrContains(result.out, "operations/s")) << result.out;
  const std::string json = ReadWholeFile(json_);
  const double operations = JsonNumber(json, "operations");
  const double seconds = JsonNumber(json, "seconds");
  EXPECT_GT(operations, 0);
  EXPECT_GE(seconds, 0.1);
  EXPECT_NEAR(JsonNumber(json, "operations_per_second"), operations / seconds,
              operations / seconds * 1e-6 + 0.01);
  EXPECT_NEAR(JsonNumber(json, "bytes_per_second"), operations / seconds * 4096,
              operations / seconds * 4096 * 1e-6 + 0.01);
  EXPECT_GT(JsonNumber(json, "cpu_ns_per_operation"), 0);
  EXPECT_GT(JsonNumber(json, "p50"), 0);
  EXPECT_LE(JsonNumber(json, "p50"), JsonNumber(json, "p99"));
  EXPECT_LE(JsonNumber(json, "p99"), JsonNumber(json, "p999"));
  EXPECT_LE(JsonNumber(json, "p999"), JsonNumber(json, "max"));
  EXPECT_EQ(JsonNumber(json, "file_bytes"), kFileBytes);
  EXPECT_EQ(JsonNumber(json, "page_bytes"), 4096);
  EXPECT_EQ(JsonNumber(json, "depth"), 8);
  EXPECT_EQ(JsonNumber(json, "threads"), 2);
  for (const char* key : {"hits", "misses", "evictions", "writes"}) {
    EXPECT_EQ(JsonNumber(json, key), 0) << key;
  }
  JsonText(json, "engine_errno");
  const std::string backing = JsonText(json, "page_backing");
  EXPECT_TRUE(backing == "\"1g\"" || backing == "\"2m\"" || backing == "\"thp\"" ||
              backing == "\"4k\"")
      << backing;
}

TEST_F(PageIoTest, WhatIsRequiredIsInForceOrAnError) {
  for (const char* engine : {"uring_fixed", "uring_plain", "threads"}) {
    const ProgramResult result = RunShort({absl::StrCat("--engine=", engine), "--depth=4"});
    if (result.exit_code == 1) {
      EXPECT_EQ(result.err.find('\n'), result.err.size() - 1) << result.err;
      EXPECT_FALSE(std::filesystem::exists(json_));
      EXPECT_STRNE(engine, "threads");
      continue;
    }
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(JsonText(ReadWholeFile(json_), "engine"), absl::StrCat("\"", engine, "\""));
  }
  for (const char* pages : {"1g", "2m", "thp", "4k"}) {
    const ProgramResult result = RunShort({absl::StrCat("--pages=", pages), "--depth=4"});
    if (result.exit_code == 1) {
      EXPECT_EQ(result.err.find('\n'), result.err.size() - 1) << result.err;
      EXPECT_STRNE(pages, "4k");
      continue;
    }
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(JsonText(ReadWholeFile(json_), "page_backing"), absl::StrCat("\"", pages, "\""));
  }
}

TEST_F(PageIoTest, WithoutIoUringItFallsBackAndSaysWhy) {
  FIXPOOL_IN_CHILD([this]() -> std::string {
    if (std::string why = ForbidSystemCall(kIoUringSetup, EPERM); !why.empty()) return why;
    for (const char* layer : {"--layer=engine", "--layer=cache"}) {
      const ProgramResult fallen = RunShort({layer, "--depth=4"});
      EXPECT_EQ(fallen.exit_code, 0) << fallen.err;
      const std::string json = ReadWholeFile(json_);
      EXPECT_EQ(JsonText(json, "engine"), "\"threads\"");
      EXPECT_EQ(JsonText(json, "engine_errno"), "\"EPERM\"");
      const ProgramResult required = RunShort({layer, "--engine=uring_fixed"});
      EXPECT_EQ(required.exit_code, 1);
      EXPECT_EQ(required.err.find('\n'), required.err.size() - 1) << required.err;
    }
    return "";
  });
}

TEST_F(PageIoTest, WithoutLockedMemoryItFallsBackAndSaysWhy) {
  ASSERT_EQ(chmod(scratch_.path().c_str(), 0777), 0);
  std::filesystem::copy_file(PageIo(), scratch_.File("page_io"));
  FIXPOOL_IN_CHILD([this]() -> std::string {
    // The user that this becomes may not be let into the directories above this one.
    if (chdir(scratch_.path().c_str()) != 0) return "chdir failed";
    program_ = "./page_io";
    directory_ = ".";
    file_ = "data";
    json_ = "report.json";
    // Enough for a ring, too little for a region.
    if (std::string why = DropPrivileges(1 << 20); !why.empty()) return why;
    for (const char* layer : {"--layer=engine", "--layer=cache"}) {
      const ProgramResult fallen = RunShort({layer, "--depth=4"});
      EXPECT_EQ(fallen.exit_code, 0) << fallen.err;
      const std::string json = ReadWholeFile(json_);
      EXPECT_NE(JsonText(json, "engine"), "\"uring_fixed\"");
      EXPECT_NE(JsonText(json, "engine_errno"), "\"\"") << json;
      const ProgramResult required = RunShort({layer, "--engine=uring_fixed"});
      EXPECT_EQ(required.exit_code, 1);
      EXPECT_EQ(required.err.find('\n'), required.err.size() - 1) << required.err;
    }
    return "";
  });
}

TEST_F(PageIoTest, EveryModeRunsAndVerifies) {
  for (const char* layer : {"--layer=engine", "--layer=cache", "--layer=cache --access=tasks"}) {
    for (const char* operation : {"read", "write", "mixed"}) {
      for (const char* shape : {"--pattern=random --depth=16", "--pattern=sequential --depth=1",
                                "--page_bytes=64k --depth=3", "--threads=2 --depth=8",
                                "--nodirect --depth=4", "--engine=threads --depth=4"}) {
        std::vector<std::string> arguments = absl::StrSplit(absl::StrCat(shape, " ", layer), ' ');
        arguments.push_back(absl::StrCat("--operation=", operation));
        arguments.push_back("--verify");
        const ProgramResult result = RunShort(arguments);
        const std::string what = absl::StrJoin(arguments, " ");
        ASSERT_EQ(result.exit_code, 0) << what << ": " << result.err;
        EXPECT_GT(JsonNumber(ReadWholeFile(json_), "operations"), 0) << what;
      }
    }
  }
}

TEST_F(PageIoTest, ADepthBeyondTheDevicesOwnIsNoError) {
  for (const char* layer : {"--layer=engine", "--layer=cache"}) {
    const ProgramResult result = RunShort({layer, "--depth=1000", "--cache_bytes=16m"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(JsonNumber(ReadWholeFile(json_), "depth"), 1000);
  }
}

TEST_F(PageIoTest, CountsWhatTheCacheDid) {
  const ProgramResult result = RunShort(
      {"--layer=cache", "--operation=mixed", "--cache_bytes=1m", "--depth=8", "--seconds=0.3"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const std::string json = ReadWholeFile(json_);
  // 256 frames for 1024 pages: at least half of the uses miss, and all but the first misses
  // evict.
  EXPECT_GT(JsonNumber(json, "misses"), JsonNumber(json, "operations") / 2);
  EXPECT_GT(JsonNumber(json, "hits"), 0);
  EXPECT_GT(JsonNumber(json, "evictions"), 0);
  EXPECT_GT(JsonNumber(json, "writes"), 0);
  EXPECT_NEAR(JsonNumber(json, "hits") + JsonNumber(json, "misses"), JsonNumber(json, "operations"),
              JsonNumber(json, "operations") * 0.1 + 20);
  EXPECT_GT(JsonNumber(json, "kernel_enters"), 0);
  EXPECT_GT(JsonNumber(json, "mean_in_flight"), 0);
}

TEST_F(PageIoTest, ReadLeavesAnExistingFileAlone) {
  const std::string contents = PatternBytes(1, kFileBytes + 777);
  scratch_.MakeFile("data", contents);
  struct stat before, after;
  ASSERT_EQ(stat(file_.c_str(), &before), 0);
  for (const char* layer : {"--layer=engine", "--layer=cache"}) {
    ASSERT_EQ(RunShort({layer, "--depth=4"}).exit_code, 0);
  }
  EXPECT_TRUE(ReadWholeFile(file_) == contents);
  ASSERT_EQ(stat(file_.c_str(), &after), 0);
  EXPECT_EQ(before.st_mtim.tv_sec, after.st_mtim.tv_sec);
  EXPECT_EQ(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
}

TEST_F(PageIoTest, WriteLeavesWhatLiesBeyondFileBytesAlone) {
  const std::string contents = PatternBytes(1, 2 * kFileBytes);
  scratch_.MakeFile("data", contents);
  ASSERT_EQ(RunShort({"--operation=write", "--verify", "--depth=4"}).exit_code, 0);
  EXPECT_TRUE(ReadWholeFile(file_).substr(kFileBytes) == contents.substr(kFileBytes));
}

TEST_F(PageIoTest, WithoutFileBytesUsesTheWholePagesOfTheFile) {
  scratch_.MakeFile("data", PatternBytes(1, 10 * 4096 + 1));
  std::vector<std::string> arguments = {absl::StrCat("--file=", file_), "--seconds=0.05",
                                        absl::StrCat("--json=", json_)};
  if (!direct_) arguments.push_back("--nodirect");
  ASSERT_EQ(Run(arguments).exit_code, 0);
  EXPECT_EQ(JsonNumber(ReadWholeFile(json_), "file_bytes"), 10 * 4096);
}

TEST_F(PageIoTest, VerifyRefusesToOverwriteAForeignFileForReading) {
  const std::string contents = PatternBytes(1, kFileBytes);
  scratch_.MakeFile("data", contents);
  const ProgramResult result = RunShort({"--verify"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_TRUE(absl::StrContains(result.err, "holds nothing that page_io wrote")) << result.err;
  EXPECT_TRUE(ReadWholeFile(file_) == contents);
  EXPECT_FALSE(std::filesystem::exists(json_));
}

TEST_F(PageIoTest, VerifyFindsOneWrongByteFromBefore) {
  for (const char* layer : {"--layer=engine", "--layer=cache"}) {
    std::filesystem::remove(file_);
    ASSERT_EQ(RunShort({"--verify"}).exit_code, 0);
    FlipByte(1'234'567);
    const ProgramResult result = RunShort({"--verify", layer});
    EXPECT_EQ(result.exit_code, 3) << result.err;
    EXPECT_TRUE(absl::StrContains(result.err, "page 301 ")) << result.err;
    EXPECT_TRUE(absl::StrContains(result.err, "1234567")) << result.err;
  }
}

TEST_F(PageIoTest, VerifyFindsOneByteThatGoesWrongMeanwhile) {
  for (const char* layer : {"--layer=engine", "--layer=cache"}) {
    std::filesystem::remove(file_);
    std::vector<std::string> arguments = {PageIo(),
                                          absl::StrCat("--file=", file_),
                                          absl::StrCat("--file_bytes=", kFileBytes),
                                          "--operation=read",
                                          "--verify",
                                          "--depth=64",
                                          "--seconds=30",
                                          layer};
    if (!direct_) arguments.push_back("--nodirect");
    if (absl::StrContains(layer, "cache")) arguments.push_back("--cache_bytes=1m");
    RunningProgram program(arguments, scratch_.path());
    // It grows as it is filled.
    while (!std::filesystem::exists(file_) || std::filesystem::file_size(file_) < kFileBytes) {
      usleep(1000);
    }
    usleep(300'000);
    FlipByte(2'345'678);
    const ProgramResult result = program.Wait();
    EXPECT_EQ(result.exit_code, 3) << result.err;
    EXPECT_TRUE(absl::StrContains(result.err, "page 572 ")) << result.err;
  }
}

TEST_F(PageIoTest, RunsWhenCopiedElsewhere) {
  const std::string copy = scratch_.File("copy of page_io");
  std::filesystem::copy_file(PageIo(), copy);
  RunningProgram program({copy, "--help"}, scratch_.path());
  EXPECT_EQ(program.Wait().exit_code, 0);
}

}  // namespace
}  // namespace fixpool::tests
