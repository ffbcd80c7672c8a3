#ifndef FIXPOOL_TESTS_STORAGE_TASK_FIXTURE_H_
#define FIXPOOL_TESTS_STORAGE_TASK_FIXTURE_H_

#include <atomic>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/mutex.h"
#include "fixpool/storage/coroutine_frames.h"
#include "fixpool/storage/progress.h"
#include "fixpool/storage/task_scheduler.h"
#include "fixpool/storage/wait_node.h"
#include "gtest/gtest.h"

namespace fixpool::storage {

// Something to wait for, that any thread may let happen. Thread-safe.
class ManualEvent {
 public:
  class [[nodiscard]] Awaiter final : public WaitNode {
   public:
    explicit Awaiter(ManualEvent& event) : event_(event) {}
    ~Awaiter() {
      if (!suspended()) return;
      {
        const io::MutexLock lock(event_.mutex_);
        if (waiting()) event_.waiters_.Remove(this);
      }
      Withdraw();
    }
    bool await_ready() const { return false; }
    template <std::derived_from<TaskState> Promise>
    bool await_suspend(std::coroutine_handle<Promise> task) {
      const io::MutexLock lock(event_.mutex_);
      if (event_.set_) return false;
      Suspend(task);
      event_.waiters_.PushBack(this);
      return true;
    }
    void await_resume() const {}

   private:
    ManualEvent& event_;
  };

  Awaiter operator co_await() { return Awaiter(*this); }

  // For ever.
  void Set() {
    const io::MutexLock lock(mutex_);
    set_ = true;
    while (WaitNode* node = waiters_.PopFront()) node->Wake();
  }
  // Whoever waits now, and nobody later.
  void Pulse() {
    const io::MutexLock lock(mutex_);
    while (WaitNode* node = waiters_.PopFront()) node->Wake();
  }
  // The first who waits. False: nobody does.
  bool WakeOne() {
    const io::MutexLock lock(mutex_);
    WaitNode* node = waiters_.PopFront();
    if (node != nullptr) node->Wake();
    return node != nullptr;
  }
  bool awaited() const {
    const io::MutexLock lock(mutex_);
    return !waiters_.empty();
  }

 private:
  mutable io::Mutex mutex_;
  WaitList waiters_ ABSL_GUARDED_BY(mutex_);
  bool set_ ABSL_GUARDED_BY(mutex_) = false;
};

// Does what the test planned, one thing for each Wait; with nothing planned nothing is pending.
// One thread, but for Interrupt.
class PlannedProgress final : public Progress {
 public:
  void Poll() override { ++polls_; }
  bool Wait(io::Deadline deadline) override {
    deadline_ = deadline;
    if (planned_.empty()) return false;
    const std::function<void()> next = std::move(planned_.front());
    planned_.pop_front();
    next();
    return true;
  }
  void Interrupt() override { interrupts_.fetch_add(1); }

  void Plan(std::function<void()> next) { planned_.push_back(std::move(next)); }
  int polls() const { return polls_; }
  int interrupts() const { return interrupts_.load(); }
  io::Deadline deadline() const { return deadline_; }

 private:
  std::deque<std::function<void()>> planned_;
  int polls_ = 0;
  io::Deadline deadline_ = io::Deadline::Infinite();
  std::atomic<int> interrupts_{0};
};

// A scheduler with few frames and a progress that does as the test says.
class TaskFixture : public testing::Test {
 protected:
  static constexpr size_t kFrames = 64;

  void TearDown() override { EXPECT_EQ(frames_->CountFree(), frames_->frame_count()); }

  // Larger than the default, for sanitizers.
  const std::unique_ptr<CoroutineFrames> frames_ =
      CoroutineFrames::Create({.frame_count = kFrames, .frame_bytes = 4096}).value();
  PlannedProgress progress_;
  TaskScheduler scheduler_{frames_.get(), &progress_};
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_TESTS_STORAGE_TASK_FIXTURE_H_
