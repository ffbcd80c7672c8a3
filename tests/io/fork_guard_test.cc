#include "fixpool/io/fork_guard.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/child_process.h"

namespace fixpool::io {
namespace {

using ::testing::HasSubstr;

// Made before main(), and before whatever else of this file.
const ForkGuard guard_of_a_static;

TEST(ForkGuardTest, IsAtHomeInTheProcessThatMadeIt) {
  const ForkGuard guard;
  EXPECT_FALSE(guard.forked());
  EXPECT_FALSE(guard_of_a_static.forked());
}

TEST(ForkGuardTest, NoticesAFork) {
  const ForkGuard guard;
  FIXPOOL_IN_CHILD([&guard] {
    EXPECT_TRUE(guard.forked());
    EXPECT_TRUE(guard_of_a_static.forked());
    const ForkGuard copy = guard;
    EXPECT_TRUE(copy.forked());
    return std::string();
  });
  EXPECT_FALSE(guard.forked()) << "the parent is what it was";
}

TEST(ForkGuardTest, ChildHasGuardsOfItsOwn) {
  const ForkGuard guard;
  FIXPOOL_IN_CHILD([&guard] {
    const ForkGuard own;
    EXPECT_FALSE(own.forked());
    EXPECT_TRUE(guard.forked());
    return std::string();
  });
}

// With and without a guard of its own in between.
TEST(ForkGuardTest, GrandchildKnowsNeitherParentNorGrandparent) {
  const ForkGuard guard;
  for (const bool with_own : {false, true}) {
    FIXPOOL_IN_CHILD([&guard, with_own] {
      std::optional<ForkGuard> own;
      if (with_own) own.emplace();
      const tests::ChildResult result = tests::RunInChild([&] {
        EXPECT_TRUE(guard.forked());
        EXPECT_TRUE(!own.has_value() || own->forked());
        const ForkGuard last;
        EXPECT_FALSE(last.forked());
        EXPECT_TRUE(guard.forked());
        EXPECT_TRUE(!own.has_value() || own->forked());
        return std::string();
      });
      EXPECT_EQ(result.outcome, tests::ChildResult::Outcome::kPassed) << result.reason;
      return std::string();
    });
  }
}

// Nobody's handlers run here: it is the kernel that tells.
TEST(ForkGuardTest, NoticesAForkPastTheCLibrary) {
  const ForkGuard guard;
  const long child = syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  ASSERT_GE(child, 0);
  if (child == 0) _exit(guard.forked() ? 0 : 1);
  int status = 0;
  ASSERT_EQ(waitpid(static_cast<pid_t>(child), &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST(ForkGuardTest, ThreadsAreNoFork) {
  const ForkGuard guard;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&guard] {
      for (int round = 0; round < 1000; ++round) {
        EXPECT_FALSE(ForkGuard().forked());
        EXPECT_FALSE(guard.forked());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(ForkGuardTest, RefusalSaysWhatHappenedAndWhatToDo) {
  const absl::Status status = ForkGuard().Refusal("Engine::Submit");
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(status.message(), HasSubstr("Engine::Submit: this process is a forked child"));
  EXPECT_THAT(status.message(), HasSubstr("make a new one here"));
}

}  // namespace
}  // namespace fixpool::io
