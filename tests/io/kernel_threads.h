#ifndef FIXPOOL_TESTS_IO_KERNEL_THREADS_H_
#define FIXPOOL_TESTS_IO_KERNEL_THREADS_H_

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace fixpool::tests {

// The threads that the kernel runs in this process for rings with SQPOLL, by what /proc says.

// What follows the name in a thread's stat: its state first. Empty: the thread is gone.
inline std::vector<std::string> ThreadStat(const std::filesystem::path& task) {
  std::ifstream in(task / "stat");
  std::string text;
  std::getline(in, text, '\0');  // unlike an iterator, it does not throw if the thread ends now
  const size_t name_end = text.rfind(") ");
  if (name_end == std::string::npos) return {};
  return absl::StrSplit(text.substr(name_end + 2), ' ');
}

inline std::vector<std::filesystem::path> KernelPollingThreads() {
  std::vector<std::filesystem::path> tasks;
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task", gone)) {
    std::ifstream in(entry.path() / "comm");
    std::string name;
    std::getline(in, name);
    if (absl::StartsWith(name, "iou-sqp")) tasks.push_back(entry.path());
  }
  return tasks;
}

// Until each of them sleeps, because it had nothing to do for its idle time.
inline void WaitUntilKernelThreadsSleep() {
  for (int looks = 0; looks < 5;) {
    bool asleep = true;
    for (const auto& task : KernelPollingThreads()) {
      const std::vector<std::string> stat = ThreadStat(task);
      asleep = asleep && (stat.empty() || stat[0] == "S");
    }
    looks = asleep ? looks + 1 : 0;
    // Not a yield: on a busy machine one looks five times before the thread had its turn.
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

// The time that they spent on a processor, in clock ticks (usually of 10 ms).
inline int KernelThreadTicks() {
  int ticks = 0;
  for (const auto& task : KernelPollingThreads()) {
    const std::vector<std::string> stat = ThreadStat(task);
    int user = 0;
    int system = 0;
    if (stat.size() > 12 && absl::SimpleAtoi(stat[11], &user) &&
        absl::SimpleAtoi(stat[12], &system)) {
      ticks += user + system;
    }
  }
  return ticks;
}

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_IO_KERNEL_THREADS_H_
