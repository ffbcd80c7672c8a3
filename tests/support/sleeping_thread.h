#ifndef FIXPOOL_TESTS_SUPPORT_SLEEPING_THREAD_H_
#define FIXPOOL_TESTS_SUPPORT_SLEEPING_THREAD_H_

#include <sys/types.h>

#include <atomic>
#include <fstream>
#include <string>
#include <thread>

namespace fixpool::tests {

// Until the thread of this process with that id, which it may not have stored yet, sleeps in the
// kernel; for a thread that does nothing but wait for one thing, that means that it does.
inline void WaitUntilAsleep(const std::atomic<pid_t>& tid) {
  while (tid.load() == 0) std::this_thread::yield();
  for (int looks = 0; looks < 5;) {
    std::ifstream in("/proc/self/task/" + std::to_string(tid.load()) + "/stat");
    std::string pid, name, state;
    in >> pid >> name >> state;
    looks = state == "S" ? looks + 1 : 0;
    std::this_thread::yield();
  }
}

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_SUPPORT_SLEEPING_THREAD_H_
