#include "tests/crash/crash_loop.h"

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/support/seed.h"

namespace fixpool::tests {
namespace {

using Outcome = CrashLoop::Outcome;

// A short one; `./run crash` has more.
constexpr uint64_t kRounds = 10;
// Within which a build that is wrong must be noticed.
constexpr uint64_t kRoundsToCatch = 30;

// The first round that does not pass; else the last.
CrashLoop::Result RunUntilFailure(CrashLoop& loop, uint64_t rounds) {
  CrashLoop::Result result;
  for (uint64_t i = 0; i < rounds && result.outcome == Outcome::kPassed; ++i) {
    result = loop.RunRound(i);
    if (result.outcome != Outcome::kPassed)
      result.what = absl::StrCat("round ", i, ": ", result.what);
  }
  return result;
}

TEST(CrashLoopTest, NothingIsLost) {
  absl::StatusOr<std::unique_ptr<CrashLoop>> loop = CrashLoop::Create({.seed = Seed()});
  if (absl::IsUnavailable(loop.status())) GTEST_SKIP() << loop.status().message();
  ASSERT_TRUE(loop.ok()) << loop.status();
  const CrashLoop::Result result = RunUntilFailure(**loop, kRounds);
  EXPECT_EQ(result.outcome, Outcome::kPassed) << result.what;
  EXPECT_GT((*loop)->totals().acknowledged, 0U);
  EXPECT_GT((*loop)->totals().replayed, 0U);
}

void ExpectCaught(CrashLoop::Options options) {
  options.seed = Seed();
  absl::StatusOr<std::unique_ptr<CrashLoop>> loop = CrashLoop::Create(options);
  if (absl::IsUnavailable(loop.status())) GTEST_SKIP() << loop.status().message();
  ASSERT_TRUE(loop.ok()) << loop.status();
  const CrashLoop::Result result = RunUntilFailure(**loop, kRoundsToCatch);
  EXPECT_EQ(result.outcome, Outcome::kLost) << result.what;
}

TEST(CrashLoopTest, CatchesADiskThatLiesAboutSync) { ExpectCaught({.lie_about_sync = true}); }

// Without them a torn page stays torn, so this shows that there are such pages.
TEST(CrashLoopTest, CatchesALogWithoutPageImages) { ExpectCaught({.page_images = false}); }

#ifdef FIXPOOL_MUTATIONS
TEST(CrashLoopTest, CatchesACacheThatSkipsSync) { ExpectCaught({.mutation = "skip_sync"}); }
#endif

}  // namespace
}  // namespace fixpool::tests
