#ifndef FIXPOOL_TESTS_SUPPORT_CHILD_PROCESS_H_
#define FIXPOOL_TESTS_SUPPORT_CHILD_PROCESS_H_

#include <cstddef>
#include <functional>
#include <string>

#include "gtest/gtest.h"

namespace fixpool::tests {

// Runs `body` in a forked child, for what cannot be undone in a process: another user, a
// lower limit, a forbidden system call. The body uses EXPECT_ and ASSERT_ as usual; what
// fails there is printed by the child and fails the test. To skip, the body returns a
// reason; else it returns "".
//
//   FIXPOOL_IN_CHILD([] {
//     if (std::string why = DropPrivileges(0); !why.empty()) return why;
//     EXPECT_...
//     return std::string();
//   });
//
// The child can use nothing of the library that was made before (docs/process_rules.md), and
// sanitizers want the parent's other threads to be asleep (WaitUntilOthersAreAsleep).
struct ChildResult {
  enum class Outcome { kPassed, kFailed, kSkipped };
  Outcome outcome;
  std::string reason;
};
ChildResult RunInChild(const std::function<std::string()>& body);

// Both return "" or why it does not work here. To be called in a child.
//
// Becomes an unprivileged user, one that no other process has, so that what is locked in
// memory is charged to this process alone, with this RLIMIT_MEMLOCK.
std::string DropPrivileges(size_t memlock_bytes);
// Makes system call `number` fail with `error_number` from now on.
std::string ForbidSystemCall(int number, int error_number);

// x86-64 and arm64 alike.
inline constexpr int kIoUringSetup = 425;

}  // namespace fixpool::tests

#define FIXPOOL_IN_CHILD(...)                                                                     \
  do {                                                                                            \
    const ::fixpool::tests::ChildResult child_result = ::fixpool::tests::RunInChild(__VA_ARGS__); \
    if (child_result.outcome == ::fixpool::tests::ChildResult::Outcome::kSkipped) {               \
      GTEST_SKIP() << child_result.reason;                                                        \
    }                                                                                             \
    ASSERT_EQ(child_result.outcome, ::fixpool::tests::ChildResult::Outcome::kPassed)              \
        << child_result.reason;                                                                   \
  } while (false)

#endif  // FIXPOOL_TESTS_SUPPORT_CHILD_PROCESS_H_
