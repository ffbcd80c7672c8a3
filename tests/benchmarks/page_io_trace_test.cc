// What the kernel saw of page_io: that pages really go by registered buffers.

#include <sys/stat.h>

#include <cstdint>
#include <iostream>
#include <map>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/benchmarks/io_uring_trace.h"
#include "tests/benchmarks/running_program.h"
#include "tests/support/scratch.h"

namespace fixpool::tests {
namespace {

using Requests = std::map<std::string, uint64_t>;

class PageIoTraceTest : public testing::Test {
 protected:
  // Runs page_io on a new file, half reads and half writes, with `engine` required, and
  // counts its requests by opcode. No value: that cannot be done here; see why_not_.
  std::optional<Requests> Trace(const std::string& layer, const std::string& engine) {
    const std::string mount_point = scratch_.File("tracefs");
    EXPECT_EQ(mkdir(mount_point.c_str(), 0700), 0);
    RunningProgram program({PageIo(), absl::StrCat("--file=", scratch_.File("data")),
                            "--file_bytes=16m", "--operation=mixed", "--depth=16", "--seconds=0.3",
                            absl::StrCat("--layer=", layer), absl::StrCat("--engine=", engine)},
                           scratch_.path(), {.hold = true});
    const auto trace = IoUringTrace::Start(program.pid(), mount_point);
    if (!trace.ok()) {
      why_not_ = absl::StrCat("the kernel cannot be traced: ", trace.status().message());
      return std::nullopt;
    }
    const ProgramResult result = program.Wait();
    if (result.exit_code == 1) {
      why_not_ = result.err;
      return std::nullopt;
    }
    EXPECT_EQ(result.exit_code, 0) << result.err;
    absl::StatusOr<Requests> requests = (*trace)->RequestsByOpcode();
    EXPECT_TRUE(requests.ok()) << requests.status();
    for (const auto& [opcode, count] : *requests) std::cout << opcode << ": " << count << "\n";
    return *requests;
  }

  const ScratchDirectory scratch_;
  std::string why_not_;
};

uint64_t CountOf(const Requests& requests, const std::string& opcode) {
  const auto found = requests.find(opcode);
  return found == requests.end() ? 0 : found->second;
}

void ExpectFixedAlone(const Requests& requests) {
  EXPECT_GT(CountOf(requests, "READ_FIXED"), 100u);
  EXPECT_GT(CountOf(requests, "WRITE_FIXED"), 100u);
  for (const char* opcode : {"READ", "WRITE", "READV", "WRITEV"}) {
    EXPECT_EQ(CountOf(requests, opcode), 0u) << opcode;
  }
}

TEST_F(PageIoTraceTest, CacheMovesPagesByRegisteredBuffersAlone) {
  const std::optional<Requests> requests = Trace("cache", "uring_fixed");
  if (!requests.has_value()) GTEST_SKIP() << why_not_;
  ExpectFixedAlone(*requests);
}

TEST_F(PageIoTraceTest, EngineMovesPagesByRegisteredBuffersAlone) {
  const std::optional<Requests> requests = Trace("engine", "uring_fixed");
  if (!requests.has_value()) GTEST_SKIP() << why_not_;
  ExpectFixedAlone(*requests);
}

// The counterpart, which shows that the others would be counted.
TEST_F(PageIoTraceTest, PlainEngineUsesNoRegisteredBuffer) {
  const std::optional<Requests> requests = Trace("engine", "uring_plain");
  if (!requests.has_value()) GTEST_SKIP() << why_not_;
  EXPECT_GT(CountOf(*requests, "READ"), 100u);
  EXPECT_GT(CountOf(*requests, "WRITE"), 100u);
  EXPECT_EQ(CountOf(*requests, "READ_FIXED"), 0u);
  EXPECT_EQ(CountOf(*requests, "WRITE_FIXED"), 0u);
}

}  // namespace
}  // namespace fixpool::tests
