#include "benchmarks/page_io_report.h"

#include <errno.h>

#include <filesystem>
#include <string>

#include "absl/strings/match.h"
#include "benchmarks/exit_code.h"
#include "benchmarks/report_file.h"
#include "gtest/gtest.h"
#include "tests/support/scratch.h"

namespace fixpool::benchmarks {
namespace {

PageFile SomeFile(PageIoOptions& options) {
  options.file = testing::TempDir() + "/page_io_data_that_is_never_made";
  options.file_bytes = 8 << 20;
  options.depth = 32;
  options.threads = 2;
  auto file = PageFile::Inspect(options);
  EXPECT_TRUE(file.ok()) << file.status();
  return *file;
}

RunResult SomeResult() {
  RunResult result;
  result.operations = 1000;
  result.interval = {.seconds = 0.5, .cpu_ns = 4'000'000};
  for (uint64_t i = 1; i <= 1000; ++i) result.latency.Record(i < 1000 ? 50 : 60);
  result.in_force = {.engine = io::EngineLevel::kUringPlain,
                     .engine_errno = ENOMEM,
                     .engine_reason = "too little may be locked",
                     .backing = arena::PageBacking::kTransparent};
  result.most_in_flight = 64;
  result.cache = {.hits = 1,
                  .misses = 2,
                  .evictions = 3,
                  .writes = 4,
                  .kernel_enters = 5,
                  .mean_in_flight = 6.5};
  return result;
}

TEST(JsonReportTest, HoldsEveryKey) {
  PageIoOptions options;
  const PageFile file = SomeFile(options);
  EXPECT_EQ(JsonReport(options, file, SomeResult()),
            "{\"operations\": 1000, \"seconds\": 0.500000000, \"operations_per_second\": 2000.000, "
            "\"bytes_per_second\": 8192000.000, \"cpu_ns_per_operation\": 4000.000, "
            "\"latency_ns\": {\"p50\": 50, \"p99\": 50, \"p999\": 50, \"max\": 60}, "
            "\"engine\": \"uring_plain\", \"engine_errno\": \"ENOMEM\", \"page_backing\": \"thp\", "
            "\"cache\": {\"hits\": 1, \"misses\": 2, \"evictions\": 3, \"writes\": 4, "
            "\"kernel_enters\": 5, "
            "\"mean_in_flight\": 6.500}, "
            "\"file_bytes\": 8388608, \"page_bytes\": 4096, \"depth\": 32, \"threads\": 2}\n");
}

TEST(JsonReportTest, HoldsNumbersEvenIfNothingHappened) {
  PageIoOptions options;
  const PageFile file = SomeFile(options);
  RunResult result;
  result.interval = {.seconds = 0.1, .cpu_ns = 1000};
  const std::string json = JsonReport(options, file, result);
  EXPECT_TRUE(absl::StrContains(json, "\"operations_per_second\": 0.000")) << json;
  EXPECT_TRUE(absl::StrContains(json, "\"cpu_ns_per_operation\": 0.000")) << json;
  EXPECT_TRUE(absl::StrContains(json, "\"engine_errno\": \"\"")) << json;
}

TEST(TextReportTest, SaysWhatWasInForceAndWhy) {
  PageIoOptions options;
  const PageFile file = SomeFile(options);
  const std::string text = TextReport(options, file, SomeResult());
  EXPECT_TRUE(absl::StrContains(text, "random reads of 4 KiB in 8 MiB of ")) << text;
  EXPECT_TRUE(absl::StrContains(text, "2000 operations/s, 7.8 MiB/s, CPU 4.00 us an operation"));
  EXPECT_TRUE(absl::StrContains(text, "uring_plain (ENOMEM: too little may be locked)")) << text;
}

class ReportFileTest : public testing::Test {
 protected:
  const tests::ScratchDirectory scratch_;
};

TEST(TextReportTest, SaysThatTheDeviceTakesNoMore) {
  PageIoOptions options;
  const PageFile file = SomeFile(options);
  RunResult result = SomeResult();
  EXPECT_FALSE(absl::StrContains(TextReport(options, file, result), "takes no more"));
  result.most_in_flight = 40;
  EXPECT_TRUE(absl::StrContains(TextReport(options, file, result),
                                "the device takes no more: at most 40 in flight, not 64"));
}

TEST_F(ReportFileTest, ReplacesWhatWasThere) {
  const std::string path = scratch_.MakeFile("old.json", "something much longer than the report");
  auto report = ReportFile::Open(path, "/nowhere");
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE((*report)->Write("{}\n").ok());
  report->reset();
  EXPECT_EQ(tests::ReadWholeFile(path), "{}\n");
}

TEST_F(ReportFileTest, LeavesNothingBehindIfNothingWasWritten) {
  const std::string fresh = scratch_.File("fresh.json");
  const std::string old = scratch_.MakeFile("old.json", "kept");
  EXPECT_TRUE(ReportFile::Open(fresh, "/nowhere").ok());
  EXPECT_TRUE(ReportFile::Open(old, "/nowhere").ok());
  EXPECT_FALSE(std::filesystem::exists(fresh));
  EXPECT_EQ(tests::ReadWholeFile(old), "kept");
}

TEST_F(ReportFileTest, RefusesAPathThatCannotBeWritten) {
  for (const std::string& path : {std::string("/nowhere/at/all.json"), scratch_.path()}) {
    EXPECT_EQ(ExitCodeOf(ReportFile::Open(path, "/nowhere").status()), kExitUsage) << path;
  }
}

TEST_F(ReportFileTest, RefusesTheFileThatIsMeasured) {
  const std::string path = scratch_.MakeFile("data", "precious");
  EXPECT_EQ(ExitCodeOf(ReportFile::Open(path, path).status()), kExitUsage);
  EXPECT_EQ(tests::ReadWholeFile(path), "precious");
  std::filesystem::remove(path);
  // The same for a file that is yet to be made.
  EXPECT_EQ(ExitCodeOf(ReportFile::Open(path, path).status()), kExitUsage);
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace fixpool::benchmarks
