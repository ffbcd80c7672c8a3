#include "tests/benchmarks/io_uring_trace.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace fixpool::tests {
namespace {

constexpr int kBufferKib = 32 * 1024;  // for each CPU

absl::Status Failed(absl::string_view what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", strerror(errno)));
}

absl::Status WriteText(const std::string& path, const std::string& text) {
  const int descriptor = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (descriptor < 0) return Failed(path);
  const ssize_t n = write(descriptor, text.data(), text.size());
  const absl::Status status = n < 0 ? Failed(path) : absl::OkStatus();
  close(descriptor);
  return status;
}

// Older kernels print numbers.
std::string OpcodeName(const std::string& text) {
  static const std::map<std::string, std::string>* const kNames =
      new std::map<std::string, std::string>{
          {"1", "READV"},       {"2", "WRITEV"}, {"3", "FSYNC"}, {"4", "READ_FIXED"},
          {"5", "WRITE_FIXED"}, {"22", "READ"},  {"23", "WRITE"}};
  const auto found = kNames->find(text);
  return found == kNames->end() ? text : found->second;
}

}  // namespace

absl::StatusOr<std::unique_ptr<IoUringTrace>> IoUringTrace::Start(pid_t pid,
                                                                  const std::string& directory) {
  std::unique_ptr<IoUringTrace> trace(new IoUringTrace(directory));
  if (absl::Status status = trace->Mount(); !status.ok()) return status;
  if (absl::Status status = trace->Enable(pid); !status.ok()) return status;
  return trace;
}

absl::Status IoUringTrace::Mount() {
  if (geteuid() != 0) return absl::UnavailableError("only root may trace the kernel");
  if (unshare(CLONE_NEWNS) != 0) return Failed("unshare(CLONE_NEWNS)");
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return Failed("making mounts private");
  }
  if (mount("tracefs", mount_point_.c_str(), "tracefs", 0, nullptr) != 0) {
    return Failed("mounting tracefs");
  }
  mounted_ = true;
  if (mkdir(instance_.c_str(), 0700) != 0) return Failed("making an instance of tracefs");
  return absl::OkStatus();
}

absl::Status IoUringTrace::Enable(pid_t pid) {
  absl::Status status = WriteText(instance_ + "/buffer_size_kb", absl::StrCat(kBufferKib));
  status.Update(WriteText(instance_ + "/options/event-fork", "1"));
  status.Update(WriteText(instance_ + "/set_event_pid", absl::StrCat(pid)));
  if (!status.ok()) return status;
  const std::string events = instance_ + "/events/io_uring/";
  if (WriteText(events + "io_uring_submit_req/enable", "1").ok()) return absl::OkStatus();
  return WriteText(events + "io_uring_submit_sqe/enable", "1");
}

absl::StatusOr<std::map<std::string, uint64_t>> IoUringTrace::RequestsByOpcode() const {
  for (int cpu = 0; cpu < 4096; ++cpu) {
    std::ifstream stats(absl::StrCat(instance_, "/per_cpu/cpu", cpu, "/stats"));
    if (!stats) break;
    std::string key;
    uint64_t overrun = 0;
    while (stats >> key && key != "overrun:") {
    }
    if (stats >> overrun && overrun != 0) {
      return absl::DataLossError(absl::StrCat(overrun, " requests did not fit the trace buffer"));
    }
  }
  std::map<std::string, uint64_t> requests;
  std::ifstream trace(instance_ + "/trace");
  std::string line;
  while (std::getline(trace, line)) {
    const size_t at = line.find("opcode ");
    if (line.empty() || line[0] == '#' || at == std::string::npos) continue;
    const size_t begin = at + strlen("opcode ");
    ++requests[OpcodeName(line.substr(begin, line.find_first_of(",: ", begin) - begin))];
  }
  return requests;
}

IoUringTrace::~IoUringTrace() {
  if (!mounted_) return;
  // An instance that is in use cannot be removed; this one is in use by nobody else.
  (void)WriteText(instance_ + "/events/enable", "0");
  rmdir(instance_.c_str());
  umount2(mount_point_.c_str(), MNT_DETACH);
}

}  // namespace fixpool::tests
