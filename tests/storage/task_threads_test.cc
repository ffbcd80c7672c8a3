// Tasks that are woken by other threads while their own runs, sleeps, or destroys them.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "fixpool/storage/task_scheduler.h"
#include "tests/storage/task_fixture.h"
#include "tests/support/seed.h"

namespace fixpool::storage {
namespace {

// Sleeps until it is interrupted. A wake-up that is lost makes the test hang.
class SleepingProgress final : public Progress {
 public:
  void Poll() override {}
  bool Wait(io::Deadline) override {
    std::unique_lock<std::mutex> lock(mutex_);
    condition_.wait(lock, [this] { return interrupted_; });
    interrupted_ = false;
    return true;
  }
  void Interrupt() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    interrupted_ = true;
    condition_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable condition_;
  bool interrupted_ = false;
};

Task<absl::Status> WaitOften(TaskScheduler&, ManualEvent& event, int times) {
  for (int i = 0; i < times; ++i) co_await event;
  co_return absl::OkStatus();
}

TEST(TaskThreadsTest, NoWakeOfAnotherThreadIsLost) {
  constexpr int kTasks = 16;
  constexpr int kWaits = 2'000;
  constexpr int kWakers = 2;
  const auto frames = CoroutineFrames::Create({.frame_bytes = 4096}).value();
  SleepingProgress progress;
  TaskScheduler scheduler(frames.get(), &progress);
  ManualEvent event;
  std::atomic<int> wakes{0};
  std::vector<std::thread> wakers;
  for (int i = 0; i < kWakers; ++i) {
    wakers.emplace_back([&] {
      while (wakes.load() < kTasks * kWaits) {
        if (event.WakeOne()) {
          wakes.fetch_add(1);
        } else {
          std::this_thread::yield();
        }
      }
    });
  }
  int made = 0;
  EXPECT_TRUE(scheduler
                  .RunConcurrently([&]() -> std::optional<Task<absl::Status>> {
                    if (made++ == kTasks) return std::nullopt;
                    return WaitOften(scheduler, event, kWaits);
                  })
                  .ok());
  for (std::thread& waker : wakers) waker.join();
  EXPECT_EQ(wakes.load(), kTasks * kWaits);
}

// The scheduler goes as soon as its last task has ended, which its waker has just woken.
TEST(TaskThreadsTest, TheSchedulerMayGoWhileItsWakerReturns) {
  const auto frames = CoroutineFrames::Create({.frame_bytes = 4096}).value();
  for (int round = 0; round < 300; ++round) {
    ManualEvent event;
    std::thread waker([&] {
      while (!event.WakeOne()) std::this_thread::yield();
    });
    auto progress = std::make_unique<SleepingProgress>();
    auto scheduler = std::make_unique<TaskScheduler>(frames.get(), progress.get());
    EXPECT_TRUE(scheduler->Run(WaitOften(*scheduler, event, 1)).ok());
    scheduler.reset();
    progress.reset();
    waker.join();
  }
}

// Each task is destroyed at a random moment: before, while, or after another thread wakes it.
TEST(TaskThreadsTest, DestroyedWhileAnotherThreadWakesThem) {
  constexpr int kRounds = 3'000;
  std::mt19937_64 random(tests::Seed());
  const auto frames = CoroutineFrames::Create({.frame_bytes = 4096}).value();
  SleepingProgress progress;
  TaskScheduler scheduler(frames.get(), &progress);
  ManualEvent event;
  std::atomic<bool> stop{false};
  std::thread waker([&] {
    while (!stop.load()) event.WakeOne();
  });
  std::vector<SpawnedTask<absl::Status>> tasks;
  for (int round = 0; round < kRounds; ++round) {
    auto task = scheduler.Spawn(WaitOften(scheduler, event, 1 + static_cast<int>(random() % 4)));
    ASSERT_TRUE(task.ok());
    tasks.push_back(*std::move(task));
    if (random() % 4 != 0) {
      ASSERT_TRUE(scheduler.RunReady().ok());
    }
    if (tasks.size() > 8) {
      std::swap(tasks[random() % tasks.size()], tasks.back());
      tasks.pop_back();
    }
  }
  tasks.clear();
  stop.store(true);
  waker.join();
  EXPECT_EQ(scheduler.CountReady(), 0u);
  EXPECT_EQ(scheduler.CountUnfinished(), 0u);
}

TEST(TaskThreadsTest, InterruptsALoopOfTheCallersOnce) {
  const auto frames = CoroutineFrames::Create({.frame_bytes = 4096}).value();
  PlannedProgress progress;
  TaskScheduler scheduler(frames.get(), &progress);
  ManualEvent event;
  auto first = scheduler.Spawn(WaitOften(scheduler, event, 1));
  auto second = scheduler.Spawn(WaitOften(scheduler, event, 1));
  ASSERT_TRUE(scheduler.RunReady().ok());
  std::thread([&] {
    event.WakeOne();
    event.WakeOne();
  }).join();
  EXPECT_EQ(progress.interrupts(), 1);
  EXPECT_EQ(scheduler.CountReady(), 2u);
  ASSERT_TRUE(scheduler.RunReady().ok());
  EXPECT_TRUE(first->done() && second->done());
}

// Frames and schedulers on two threads at once, from one CoroutineFrames.
TEST(TaskThreadsTest, SchedulersOfSeveralThreadsShareFrames) {
  const auto frames = CoroutineFrames::Create({.frame_count = 64, .frame_bytes = 4096}).value();
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      PlannedProgress progress;
      TaskScheduler scheduler(frames.get(), &progress);
      const auto nop = [](TaskScheduler&) -> Task<absl::Status> {
        co_await TaskScheduler::Yield();
        co_return absl::OkStatus();
      };
      int left = 5'000;
      EXPECT_TRUE(scheduler
                      .RunConcurrently(
                          [&]() -> std::optional<Task<absl::Status>> {
                            if (left-- == 0) return std::nullopt;
                            return nop(scheduler);
                          },
                          {.in_flight = 20})
                      .ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(frames->CountFree(), 64u);
}

}  // namespace
}  // namespace fixpool::storage
