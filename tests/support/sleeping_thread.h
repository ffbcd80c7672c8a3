#ifndef FIXPOOL_TESTS_SUPPORT_SLEEPING_THREAD_H_
#define FIXPOOL_TESTS_SUPPORT_SLEEPING_THREAD_H_

#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

namespace fixpool::tests {

// Until the thread of this process with that id, which it may not have stored yet, sleeps in the
// kernel, or is no more; for one that does nothing but wait for one thing, the first means that it
// does.
inline void WaitUntilAsleep(const std::atomic<pid_t>& tid) {
  while (tid.load() == 0) std::this_thread::yield();
  for (int looks = 0; looks < 5;) {
    std::ifstream in("/proc/self/task/" + std::to_string(tid.load()) + "/stat");
    std::string pid, name, state;
    if (!(in >> pid >> name >> state)) return;  // it has ended
    looks = state == "S" ? looks + 1 : 0;
    // Not a yield: while others hold both of the machine's processors, five looks in a row would
    // find a thread asleep that waits for a lock on its way.
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

// Until no thread of this process runs but the caller: the moment for a fork. An allocator that
// knows nothing of forks (AddressSanitizer's) keeps its locks as they are in the child.
inline void WaitUntilOthersAreAsleep() {
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    const pid_t tid = std::stoi(task.path().filename().string());
    if (tid != gettid()) WaitUntilAsleep(tid);
  }
}

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_SUPPORT_SLEEPING_THREAD_H_
