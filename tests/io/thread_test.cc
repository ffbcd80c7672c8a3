#include "fixpool/io/thread.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <utility>

#include "gtest/gtest.h"

namespace fixpool::io {
namespace {

TEST(ThreadTest, RunsItsBody) {
  int ran = 0;
  absl::StatusOr<Thread> thread = Thread::Start("body", [&] { ran = 1; });
  ASSERT_TRUE(thread.ok()) << thread.status();
  thread->Join();
  EXPECT_EQ(ran, 1);
}

TEST(ThreadTest, BlocksAllSignalsAndLeavesTheStartersMaskAlone) {
  sigset_t before;
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, nullptr, &before), 0);
  sigset_t inside;
  absl::StatusOr<Thread> thread =
      Thread::Start("signals", [&] { pthread_sigmask(SIG_SETMASK, nullptr, &inside); });
  ASSERT_TRUE(thread.ok());
  thread->Join();
  sigset_t after;
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, nullptr, &after), 0);
  for (int signal = 1; signal <= SIGRTMAX; ++signal) {
    EXPECT_EQ(sigismember(&before, signal), sigismember(&after, signal)) << signal;
    // Two that cannot be blocked, and those that the C library keeps to itself.
    if (signal == SIGKILL || signal == SIGSTOP || (signal > 31 && signal < SIGRTMIN)) continue;
    EXPECT_EQ(sigismember(&inside, signal), 1) << signal;
  }
}

TEST(ThreadTest, CarriesItsName) {
  std::atomic<bool> named{false};
  absl::StatusOr<Thread> thread = Thread::Start("fixpool-test-15", [&] {
    char name[16];
    do {  // it is given from outside, while the body may already run
      std::this_thread::yield();
    } while (pthread_getname_np(pthread_self(), name, sizeof(name)) != 0 ||
             std::string(name) != "fixpool-test-15");
    named.store(true);
  });
  ASSERT_TRUE(thread.ok());
  thread->Join();
  EXPECT_TRUE(named.load());
}

TEST(ThreadTest, DetachedThreadGoesOn) {
  std::atomic<int> step{0};
  {
    absl::StatusOr<Thread> thread = Thread::Start("detached", [&] {
      while (step.load() != 1) std::this_thread::yield();
      step.store(2);
    });
    ASSERT_TRUE(thread.ok());
    Thread moved = std::move(*thread);
    moved.Detach();
  }
  step.store(1);
  while (step.load() != 2) std::this_thread::yield();
}

TEST(ThreadDeathTest, MustBeJoinedOrDetached) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH({ auto thread = Thread::Start("lost", [] {}); }, "neither joined nor detached");
  EXPECT_DEATH(
      {
        auto thread = Thread::Start("twice", [] {});
        thread->Join();
        thread->Join();
      },
      "Join of a thread that was joined");
}

}  // namespace
}  // namespace fixpool::io
