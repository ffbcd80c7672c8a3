#include "fixpool/io/memlock.h"

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/child_process.h"

namespace fixpool::io {
namespace {

using ::testing::HasSubstr;

TEST(MemlockTest, RingsCostWhatTheKernelWasSeenToCharge) {
  EXPECT_EQ(RingMemlockBytes(256), 28u << 10);
  EXPECT_EQ(RingMemlockBytes(4096), 404u << 10);
  EXPECT_EQ(RingMemlockBytes(129), RingMemlockBytes(256));  // rounded to a power of two
  EXPECT_GE(RingMemlockBytes(1), 8192u);
}

TEST(MemlockTest, PlanCountsRegionsOnceForRingsThatShareThem) {
  MemlockPlan plan{.regions = {{.size_bytes = 1 << 20}, {.size_bytes = 4096}}, .ring_depth = 256};
  EXPECT_EQ(MemlockBytes(plan), (1u << 20) + 4096 + (28u << 10));
  plan.rings = 3;
  EXPECT_EQ(MemlockBytes(plan), (1u << 20) + 4096 + 3 * (28u << 10));
  plan.shared = false;
  EXPECT_EQ(MemlockBytes(plan), 3 * ((1u << 20) + 4096 + (28u << 10)));
}

TEST(MemlockTest, PlanCountsWholePages) {
  const MemlockPlan plan{
      .regions = {{.size_bytes = 1}, {.size_bytes = 4096, .page_bytes = 2 << 20}}, .rings = 0};
  EXPECT_EQ(MemlockBytes(plan), 4096u + (2u << 20));
}

TEST(MemlockTest, PreflightSaysNoAboveTheLimitAndSaysWhatToDo) {
  FIXPOOL_IN_CHILD([]() -> std::string {
    if (std::string why = tests::DropPrivileges(1 << 20); !why.empty()) return why;
    EXPECT_EQ(MemlockLimitBytes(), 1u << 20);
    MemlockPlan plan{.regions = {{.size_bytes = 1 << 20}}, .rings = 0};
    EXPECT_TRUE(PreflightMemlock(plan).ok());
    plan.rings = 1;
    const absl::Status status = PreflightMemlock(plan);
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    for (const std::string& part :
         {"wanted " + std::to_string(MemlockBytes(plan)), std::string("RLIMIT_MEMLOCK is 1048576"),
          std::string("ulimit -l"), std::string("CAP_IPC_LOCK")}) {
      EXPECT_THAT(status.message(), HasSubstr(part));
    }
    return "";
  });
}

TEST(MemlockTest, WithoutALimitThePreflightSaysYes) {
  if (MemlockLimitBytes().has_value()) GTEST_SKIP() << "this process has a limit";
  EXPECT_TRUE(PreflightMemlock({.regions = {{.size_bytes = uint64_t{1} << 50}}}).ok());
  EXPECT_THAT(MemlockAdvice(1), HasSubstr("no limit"));
}

}  // namespace
}  // namespace fixpool::io
