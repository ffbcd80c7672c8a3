// trace_replay from the outside: its command line, exit codes, formats, and report.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "tests/benchmarks/running_program.h"
#include "tests/support/scratch.h"

namespace fixpool::tests {
namespace {

double JsonNumber(const std::string& json, const std::string& key) {
  const std::string quoted = absl::StrCat("\"", key, "\": ");
  const size_t at = json.find(quoted);
  if (at == std::string::npos) return -1;
  const size_t begin = at + quoted.size();
  double number = -1;
  EXPECT_TRUE(
      absl::SimpleAtod(json.substr(begin, json.find_first_of(",}", begin) - begin), &number))
      << key << " in " << json;
  return number;
}

std::string Le32(const std::vector<uint32_t>& numbers) {
  std::string bytes;
  for (uint32_t number : numbers) {
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(number >> shift);
  }
  return bytes;
}

class TraceReplayTest : public testing::Test {
 protected:
  ProgramResult Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "benchmarks/trace_replay");
    return RunningProgram(arguments, scratch_.path()).Wait();
  }
  // The report of a run that succeeds.
  std::string Report(std::vector<std::string> arguments) {
    arguments.push_back(absl::StrCat("--json=", json_));
    const ProgramResult result = Run(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.err, "");
    EXPECT_TRUE(absl::StrContains(result.out, "miss ratio")) << result.out;
    return ReadWholeFile(json_);
  }
  void ExpectUsageError(const std::vector<std::string>& arguments, const std::string& part) {
    const ProgramResult result = Run(arguments);
    const std::string line = absl::StrJoin(arguments, " ");
    EXPECT_EQ(result.exit_code, 2) << line << ": " << result.err;
    EXPECT_EQ(result.out, "") << line;
    EXPECT_TRUE(absl::StartsWith(result.err, "trace_replay: ")) << line << ": " << result.err;
    EXPECT_TRUE(absl::StrContains(result.err, part)) << line << ": " << result.err;
    EXPECT_EQ(result.err.find('\n'), result.err.size() - 1) << line << ": " << result.err;
  }
  void ExpectNoFileCanBeMade(const std::vector<std::string>& arguments) {
    const ProgramResult result = Run(arguments);
    EXPECT_EQ(result.exit_code, 1) << result.err;
    EXPECT_TRUE(absl::StrContains(result.err, "see --dir")) << result.err;
  }
  std::string Trace(const std::string& contents) {
    return absl::StrCat("--trace=", scratch_.MakeFile("trace", contents));
  }

  const ScratchDirectory scratch_;
  std::string json_ = scratch_.File("report.json");
};

TEST_F(TraceReplayTest, HelpSucceedsAndNamesTheFlags) {
  const ProgramResult result = Run({"--help"});
  EXPECT_EQ(result.exit_code, 0);
  for (const char* part : {"--trace", "--generate", "--format", "--frames", "--policy", "--threads",
                           "--seed", "--through_cache", "--dir", "--json", "zstd -dc"}) {
    EXPECT_TRUE(absl::StrContains(result.out, part)) << part;
  }
}

TEST_F(TraceReplayTest, CountsLe32AndTakesWritesForNoReferences) {
  // 1 2 1 3 2 with two frames: a hit, and then whoever has to go for 3.
  const std::string trace = Trace(Le32({1, 2, 1, 0x80000001, 3, 2, 0x80000009}));
  for (const char* policy : {"lru", "clock", "s3w"}) {
    const std::string json =
        Report({trace, "--frames=2", absl::StrCat("--policy=", policy), "--format=le32"});
    EXPECT_EQ(JsonNumber(json, "references"), 5) << json;
    EXPECT_EQ(JsonNumber(json, "distinct_pages"), 4) << json;
    EXPECT_EQ(JsonNumber(json, "frames"), 2) << json;
    EXPECT_GE(JsonNumber(json, "writes_per_hit"), 0) << json;
    EXPECT_GE(JsonNumber(json, "frames_examined_per_eviction"), 1) << json;
    EXPECT_NEAR(JsonNumber(json, "miss_ratio"), 0.8, 1e-6) << json;
  }
}

TEST_F(TraceReplayTest, CountsLis) {
  const std::string trace = Trace("10 3 0 0\n11 2 0 1\n\n10 1 0 2\n");
  const std::string json = Report({trace, "--format=lis", "--frames=100%", "--threads=2"});
  EXPECT_EQ(JsonNumber(json, "references"), 6) << json;
  EXPECT_EQ(JsonNumber(json, "distinct_pages"), 3) << json;
  EXPECT_EQ(JsonNumber(json, "frames"), 3) << json;
  EXPECT_NEAR(JsonNumber(json, "miss_ratio"), 0.5, 1e-6) << json;
}

TEST_F(TraceReplayTest, GeneratesWorkloads) {
  for (const char* workload : {"zipf_scan", "loop", "tpcc"}) {
    const std::string generate = absl::StrCat("--generate=", workload);
    const std::string json = Report({generate, "--frames=1000", "--seed=3"});
    const double miss_ratio = JsonNumber(json, "miss_ratio");
    EXPECT_GT(miss_ratio, 0) << json;
    EXPECT_LT(miss_ratio, 1) << json;
    EXPECT_EQ(JsonNumber(Report({generate, "--frames=1000", "--seed=3"}), "miss_ratio"),
              miss_ratio);
  }
}

// One thread through the cache does what the policy alone does, but that its writes take time.
TEST_F(TraceReplayTest, WholeCacheMissesAsOftenAsItsPolicy) {
  const std::string dir = absl::StrCat("--dir=", scratch_.path());
  for (const char* policy : {"s3w", "clock"}) {
    const std::vector<std::string> run = {"--generate=zipf_scan", "--frames=50%",
                                          absl::StrCat("--policy=", policy)};
    const double alone = JsonNumber(Report(run), "miss_ratio");
    std::vector<std::string> through = run;
    through.insert(through.end(), {"--through_cache", dir});
    const std::string json = Report(through);
    EXPECT_NEAR(JsonNumber(json, "miss_ratio"), alone, alone * 0.02) << json;
    EXPECT_GT(JsonNumber(json, "evictions"), 0) << json;
    EXPECT_TRUE(absl::StrContains(json, "\"writes_per_hit\": null")) << json;
  }
  ExpectNoFileCanBeMade({"--generate=loop", "--frames=10", "--through_cache", "--dir=/nowhere"});
}

TEST_F(TraceReplayTest, RefusesBadCommandLines) {
  const std::string trace = Trace(Le32({1, 2}));
  ExpectUsageError({}, "--trace is required");
  ExpectUsageError({trace}, "--frames is required");
  ExpectUsageError({trace, "--frames=0"}, "--frames=0: it is 1 to");
  ExpectUsageError({trace, "--frames=-1"}, "--frames=-1: it is 1 to");
  ExpectUsageError({trace, "--frames=0%"}, "a share is more than 0%");
  ExpectUsageError({trace, "--frames=101%"}, "at most 100%");
  ExpectUsageError({trace, "--frames=few"}, "--frames=few");
  ExpectUsageError({trace, "--frames=1", "--policy=random"}, "s3w, clock, lru");
  ExpectUsageError({trace, "--frames=1", "--format=csv"}, "le32, lis");
  ExpectUsageError({trace, "--frames=1", "--threads=0"}, "--threads is 1 to 256");
  ExpectUsageError({trace, "--frames=1", "--generate=loop"}, "exclude each other");
  ExpectUsageError({"--generate=poem", "--frames=1"}, "zipf_scan, loop, tpcc");
  ExpectUsageError({trace, "--frames=1", "--depth=3"}, "there is no flag '--depth'");
  ExpectUsageError({trace, "--frames=1", "more"}, "trace_replay takes flags only");
  ExpectUsageError({trace, "--frames=1", "--json=/nowhere/at/all"}, "cannot be written");
}

TEST_F(TraceReplayTest, RefusesBadTraces) {
  ExpectUsageError({"--trace=/nowhere/at/all", "--frames=1"}, "cannot be opened");
  ExpectUsageError({absl::StrCat("--trace=", scratch_.path()), "--frames=1"}, "cannot be read");
  ExpectUsageError({Trace("12345"), "--frames=1"}, "whole numbers of 4 bytes");
  ExpectUsageError({Trace(""), "--frames=1"}, "no reference");
  ExpectUsageError({Trace(Le32({0x80000001})), "--frames=1"}, "no reference");
  const auto lis = [this](const std::string& text, const std::string& part) {
    ExpectUsageError({Trace(text), "--format=lis", "--frames=1"}, part);
  };
  lis("1 1 0 0\n1 1\n", "line 2 of the trace: it has 2 words");
  lis("1 x 0 0\n", "line 1 of the trace: the first two words");
  lis("1 -1 0 0\n", "line 1");
  lis("1 99999999999 0 0\n", "too long");
  lis("18446744073709551615 2 0 0\n", "too long");
}

TEST_F(TraceReplayTest, RefusesToOverwriteItsTrace) {
  const std::string path = scratch_.MakeFile("trace", Le32({1, 2}));
  ExpectUsageError({"--trace=" + path, "--frames=1", "--json=" + path}, "cannot be written");
}

}  // namespace
}  // namespace fixpool::tests
