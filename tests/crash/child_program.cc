#include "tests/crash/child_program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "fixpool/io/error.h"

namespace fixpool::tests {
namespace {

constexpr absl::Duration kLook = absl::Milliseconds(50);  // whether interrupted

// In the child. Only what is safe after a fork.
[[noreturn]] void Become(pid_t parent, char* const* arguments, int output, int errors) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);  // gone before that
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  dup2(output, STDOUT_FILENO);
  dup2(errors, STDERR_FILENO);
  execv(arguments[0], arguments);
  _exit(127);
}

}  // namespace

absl::StatusOr<ChildProgram> ChildProgram::Start(const Options& options) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return io::ErrnoStatus(errno, "pipe2");
  const int errors =
      open(options.errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_APPEND, 0600);
  if (errors < 0) return io::ErrnoStatus(errno, options.errors);
  std::vector<char*> arguments;
  for (const std::string& argument : options.arguments) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) Become(parent, arguments.data(), ends[1], errors);
  const int error = errno;
  close(ends[1]);
  close(errors);
  if (pid > 0) return ChildProgram(pid, ends[0], options);
  close(ends[0]);
  return io::ErrnoStatus(error, "fork");
}

ChildProgram::ChildProgram(ChildProgram&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      output_(std::exchange(other.output_, -1)),
      options_(std::move(other.options_)),
      text_(std::move(other.text_)),
      code_(other.code_) {}

ChildProgram::~ChildProgram() {
  if (pid_ < 0) return;
  close(output_);
  if (code_.has_value()) return;
  Kill();
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

absl::StatusOr<std::string> ChildProgram::ReadLine(absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  while (true) {
    const size_t end = text_.find('\n');
    if (end != std::string::npos) {
      std::string line = text_.substr(0, end);
      text_.erase(0, end + 1);
      return line;
    }
    if (interrupted()) return absl::AbortedError("interrupted");
    const absl::Duration left = deadline - absl::Now();
    if (left < absl::ZeroDuration()) return absl::DeadlineExceededError("it says nothing");
    pollfd poller{.fd = output_, .events = POLLIN, .revents = 0};
    const int ready =
        poll(&poller, 1, static_cast<int>(absl::ToInt64Milliseconds(std::min(left, kLook)) + 1));
    if (ready <= 0) continue;
    char buffer[4096];
    const ssize_t got = read(output_, buffer, sizeof(buffer));
    if (got == 0) return absl::OutOfRangeError("it has said all");
    if (got > 0) text_.append(buffer, static_cast<size_t>(got));
  }
}

void ChildProgram::Kill() {
  if (!code_.has_value()) kill(pid_, SIGKILL);
}

absl::StatusOr<int> ChildProgram::Wait(absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  while (!code_.has_value()) {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
      code_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
      break;
    }
    if (interrupted()) return absl::AbortedError("interrupted");
    if (absl::Now() > deadline) return absl::DeadlineExceededError("it does not end");
    absl::SleepFor(absl::Microseconds(500));
  }
  return *code_;
}

std::string ChildProgram::Errors() const {
  std::ifstream file(options_.errors);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  constexpr size_t kEnough = 2000;
  if (text.size() > kEnough) text.erase(0, text.size() - kEnough);
  return text;
}

}  // namespace fixpool::tests
