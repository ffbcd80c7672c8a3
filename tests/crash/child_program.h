#ifndef FIXPOOL_TESTS_CRASH_CHILD_PROGRAM_H_
#define FIXPOOL_TESTS_CRASH_CHILD_PROGRAM_H_

#include <sys/types.h>

#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace fixpool::tests {

// A program that runs beside this one, says lines on stdout, and may be killed.
//
//   auto child = ChildProgram::Start({.arguments = {path, "--x=1"}, .errors = "errors.txt"});
//   absl::StatusOr<std::string> line = child->ReadLine(absl::Seconds(10));
//   child->Kill();
//   child->Wait(absl::Seconds(10));
//
// Ownership: killed and waited for at the end. It also dies, by SIGKILL, with the thread that
// started it, unless it is another user's program.
// Errors: DeadlineExceeded: it said or did nothing in time. Aborted: `interrupted` was set
// meanwhile. OutOfRange: it has said all. Thread-compatible.
class ChildProgram {
 public:
  struct Options {
    std::vector<std::string> arguments;  // the first is the program's path
    std::string errors;                  // the file that its stderr goes to
    const std::atomic<bool>* interrupted = nullptr;
  };
  static absl::StatusOr<ChildProgram> Start(const Options& options);
  ~ChildProgram();
  ChildProgram(ChildProgram&& other) noexcept;
  ChildProgram& operator=(ChildProgram&&) = delete;

  // Without the end of line; a line that the end of the program cut is none.
  absl::StatusOr<std::string> ReadLine(absl::Duration timeout);
  void Kill();
  // Its exit code, or 128 and the signal that ended it.
  absl::StatusOr<int> Wait(absl::Duration timeout);

  // The end of what it said on stderr.
  std::string Errors() const;

 private:
  ChildProgram(pid_t pid, int output, const Options& options)
      : pid_(pid), output_(output), options_(options) {}
  bool interrupted() const { return options_.interrupted != nullptr && *options_.interrupted; }

  pid_t pid_;
  int output_;
  Options options_;
  std::string text_;  // read and not returned
  std::optional<int> code_;
};

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_CRASH_CHILD_PROGRAM_H_
