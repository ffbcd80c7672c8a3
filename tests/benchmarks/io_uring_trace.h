#ifndef FIXPOOL_TESTS_BENCHMARKS_IO_URING_TRACE_H_
#define FIXPOOL_TESTS_BENCHMARKS_IO_URING_TRACE_H_

#include <sys/types.h>
#include <unistd.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace fixpool::tests {

// The kernel's own account of the requests that a process puts into its io_urings.
//
//   absl::StatusOr<std::unique_ptr<IoUringTrace>> trace = IoUringTrace::Start(pid, directory);
//   ... the process runs ...
//   (*trace)->RequestsByOpcode();         // {"READ_FIXED": 4711, ...}
//
// Shape: a trace buffer of its own, in an instance of tracefs that is removed at the end, so
// that nobody else's tracing is disturbed. tracefs is mounted in a mount namespace that the
// calling thread moves to: no trace of that either.
// Counts from Start on, for the process with all threads and children that it then makes.
// Threads: thread-compatible. Only root can.
// Source: Documentation/trace/ftrace.rst, "Instances", set_event_pid; the event
// io_uring_submit_req (Linux 5.19; before, io_uring_submit_sqe).
class IoUringTrace {
 public:
  // Any error: it cannot be done here, with the reason. `directory` is to mount tracefs in.
  static absl::StatusOr<std::unique_ptr<IoUringTrace>> Start(pid_t pid,
                                                             const std::string& directory);
  ~IoUringTrace();
  IoUringTrace(const IoUringTrace&) = delete;
  IoUringTrace& operator=(const IoUringTrace&) = delete;

  // DataLoss: there were more requests than the buffer holds.
  absl::StatusOr<std::map<std::string, uint64_t>> RequestsByOpcode() const;

 private:
  explicit IoUringTrace(const std::string& directory)
      : mount_point_(directory),
        instance_(directory + "/instances/fixpool_" + std::to_string(getpid())) {}
  absl::Status Mount();
  absl::Status Enable(pid_t pid);

  const std::string mount_point_;
  const std::string instance_;  // its directory
  bool mounted_ = false;
};

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_BENCHMARKS_IO_URING_TRACE_H_
