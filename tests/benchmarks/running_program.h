#ifndef FIXPOOL_TESTS_BENCHMARKS_RUNNING_PROGRAM_H_
#define FIXPOOL_TESTS_BENCHMARKS_RUNNING_PROGRAM_H_

#include <sys/types.h>

#include <string>
#include <vector>

namespace fixpool::tests {

// How a program ended, and what it printed.
struct ProgramResult {
  int exit_code = -1;  // -1: it was ended by a signal
  std::string out;
  std::string err;
};

// A program of the project in a process of its own; page_io in most cases.
//
//   RunningProgram program({PageIo(), "--file=f"}, scratch.path());
//   ...
//   ProgramResult result = program.Wait();
//
// Ended with SIGKILL by the destructor if nobody has waited for it. Thread-compatible.
class RunningProgram {
 public:
  struct Options {
    // Holds the program back before its first instruction until Release().
    bool hold = false;
  };
  // Two files in `directory` take what it prints.
  RunningProgram(const std::vector<std::string>& arguments, const std::string& directory,
                 Options options);
  RunningProgram(const std::vector<std::string>& arguments, const std::string& directory)
      : RunningProgram(arguments, directory, Options()) {}
  ~RunningProgram();
  RunningProgram(const RunningProgram&) = delete;
  RunningProgram& operator=(const RunningProgram&) = delete;

  pid_t pid() const { return pid_; }
  void Release();
  // What it has printed on standard output so far.
  std::string OutSoFar() const;
  ProgramResult Wait();

 private:
  std::string out_path_;
  std::string err_path_;
  pid_t pid_ = -1;         // -1: waited for
  int release_pipe_ = -1;  // write end; -1: released
};

// The path of page_io: where Bazel puts it for a test that names it in `data`, or
// FIXPOOL_PAGE_IO of the environment.
std::string PageIo();

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_BENCHMARKS_RUNNING_PROGRAM_H_
