#include <sys/syscall.h>

#include <cerrno>
#include <string>

#include "fixpool/io/fork_guard.h"
#include "gtest/gtest.h"
#include "tests/support/child_process.h"

// In a program of its own, in which nobody has made a guard when the test begins.

namespace fixpool::io {
namespace {

TEST(ForkGuardFallbackTest, NoticesAForkWhereTheKernelWipesNoPages) {
  FIXPOOL_IN_CHILD([] {
    if (std::string why = tests::ForbidSystemCall(SYS_madvise, EINVAL); !why.empty()) return why;
    const ForkGuard guard;
    EXPECT_FALSE(guard.forked());
    const tests::ChildResult result = tests::RunInChild([&guard] {
      EXPECT_TRUE(guard.forked());
      EXPECT_FALSE(ForkGuard().forked());
      EXPECT_TRUE(guard.forked());
      return std::string();
    });
    EXPECT_EQ(result.outcome, tests::ChildResult::Outcome::kPassed) << result.reason;
    EXPECT_FALSE(guard.forked());
    return std::string();
  });
}

}  // namespace
}  // namespace fixpool::io
