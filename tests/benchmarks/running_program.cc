#include "tests/benchmarks/running_program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>

#include "tests/support/scratch.h"

namespace fixpool::tests {
namespace {

// In the child, after the fork: nothing but system calls.
[[noreturn]] void Become(char* const* arguments, const char* out_path, const char* err_path,
                         int release_pipe) {
  const int out = open(out_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const int err = open(err_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (out < 0 || err < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0) _exit(126);
  char byte;
  while (read(release_pipe, &byte, 1) < 0 && errno == EINTR) {
  }
  execv(arguments[0], arguments);
  _exit(127);
}

// What was written to a file, which a program that was ended early may not have opened.
std::string WrittenTo(const std::string& path) {
  return access(path.c_str(), R_OK) == 0 ? ReadWholeFile(path) : "";
}

}  // namespace

RunningProgram::RunningProgram(const std::vector<std::string>& arguments,
                               const std::string& directory, Options options) {
  static std::atomic<int> count{0};
  const std::string stem = directory + "/program_" + std::to_string(count++);
  out_path_ = stem + ".out";
  err_path_ = stem + ".err";
  std::vector<char*> pointers;
  for (const std::string& argument : arguments) {
    pointers.push_back(const_cast<char*>(argument.c_str()));
  }
  pointers.push_back(nullptr);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) abort();
  pid_ = fork();
  if (pid_ < 0) abort();
  if (pid_ == 0) {
    close(ends[1]);
    Become(pointers.data(), out_path_.c_str(), err_path_.c_str(), ends[0]);
  }
  close(ends[0]);
  release_pipe_ = ends[1];
  if (!options.hold) Release();
}

RunningProgram::~RunningProgram() {
  Release();
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  Wait();
}

void RunningProgram::Release() {
  if (release_pipe_ >= 0) close(release_pipe_);  // which ends the child's read
  release_pipe_ = -1;
}

std::string RunningProgram::OutSoFar() const { return WrittenTo(out_path_); }

ProgramResult RunningProgram::Wait() {
  Release();
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return {.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1,
          .out = WrittenTo(out_path_),
          .err = WrittenTo(err_path_)};
}

std::string PageIo() {
  if (const char* path = std::getenv("FIXPOOL_PAGE_IO")) return path;
  return "benchmarks/page_io";  // from the root of the runfiles, where a test begins
}

}  // namespace fixpool::tests
