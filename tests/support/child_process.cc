#include "tests/support/child_process.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace fixpool::tests {
namespace {

constexpr int kPassedCode = 0;
constexpr int kFailedCode = 1;
constexpr int kSkippedCode = 77;

std::string Because(const char* what) { return std::string(what) + ": " + std::strerror(errno); }

}  // namespace

ChildResult RunInChild(const std::function<std::string()>& body) {
  int pipe_ends[2];
  if (pipe2(pipe_ends, O_CLOEXEC) != 0) return {ChildResult::Outcome::kFailed, Because("pipe2")};
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child < 0) return {ChildResult::Outcome::kFailed, Because("fork")};
  if (child == 0) {
    close(pipe_ends[0]);
    const std::string reason = body();
    std::fflush(nullptr);
    if (::testing::Test::HasFailure()) _exit(kFailedCode);
    if (reason.empty()) _exit(kPassedCode);
    if (write(pipe_ends[1], reason.data(), reason.size()) < 0) _exit(kFailedCode);
    _exit(kSkippedCode);
  }
  close(pipe_ends[1]);
  std::string reason;
  char buffer[512];
  ssize_t count;
  while ((count = read(pipe_ends[0], buffer, sizeof(buffer))) > 0) {
    reason.append(buffer, static_cast<size_t>(count));
  }
  close(pipe_ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == kPassedCode) {
    return {ChildResult::Outcome::kPassed, ""};
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == kSkippedCode) {
    return {ChildResult::Outcome::kSkipped, reason};
  }
  return {ChildResult::Outcome::kFailed,
          WIFSIGNALED(status) ? "the child died of signal " + std::to_string(WTERMSIG(status))
                              : "the child failed; see above"};
}

std::string DropPrivileges(size_t memlock_bytes) {
  if (geteuid() != 0) return "needs root, to become a user with a memlock limit of its own";
  const rlimit limit{.rlim_cur = memlock_bytes, .rlim_max = memlock_bytes};
  if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0) return Because("setrlimit");
  const uid_t uid = 1'000'000 + static_cast<uid_t>(getpid());
  if (setgroups(0, nullptr) != 0) return Because("setgroups");
  if (setgid(uid) != 0) return Because("setgid");
  if (setuid(uid) != 0) return Because("setuid");
  // /proc/self stays its own.
  if (prctl(PR_SET_DUMPABLE, 1) != 0) return Because("prctl");
  return "";
}

std::string ForbidSystemCall(int number, int error_number) {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(number), 0, 1),
      BPF_STMT(BPF_RET | BPF_K,
               SECCOMP_RET_ERRNO | (static_cast<unsigned>(error_number) & SECCOMP_RET_DATA)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{.len = sizeof(filter) / sizeof(filter[0]), .filter = filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return Because("PR_SET_NO_NEW_PRIVS");
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) return Because("PR_SET_SECCOMP");
  return "";
}

}  // namespace fixpool::tests
