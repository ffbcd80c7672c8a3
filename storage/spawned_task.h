#ifndef FIXPOOL_STORAGE_SPAWNED_TASK_H_
#define FIXPOOL_STORAGE_SPAWNED_TASK_H_

#include "fixpool/io/require_cpp20.h"

#include <concepts>
#include <coroutine>
#include <utility>

#include "fixpool/io/check.h"
#include "fixpool/storage/task.h"
#include "fixpool/storage/task_group.h"
#include "fixpool/storage/task_state.h"
#include "fixpool/storage/wait_node.h"

namespace fixpool::storage {

// A task that TaskScheduler::Spawn started, in the hand of whoever wants its result.
//
//   absl::StatusOr<SpawnedTask<absl::Status>> child = scheduler.Spawn(Work(scheduler));
//   ...
//   absl::Status done = co_await *std::move(child);    // in a task
//   if (child->done()) Use(child->TakeResult());       // anywhere on the thread
//
// Ownership: move-only. Dropping it destroys the task wherever it waits (see Task); Detach()
// lets it run on without anybody. Awaiting takes it over. CHECKed: it does not outlive the
// scheduler unless it is done, and a task does not drop itself.
// Threads: that of its scheduler.
template <typename T>
class [[nodiscard]] SpawnedTask {
 public:
  SpawnedTask(SpawnedTask&& other) noexcept : promise_(std::exchange(other.promise_, nullptr)) {}
  SpawnedTask& operator=(SpawnedTask&& other) noexcept {
    SpawnedTask old(std::move(*this));
    promise_ = std::exchange(other.promise_, nullptr);
    return *this;
  }
  ~SpawnedTask() {
    if (promise_ != nullptr) state()->Destroy();
  }

  // It has ended. Not after it was moved from; neither are the others.
  bool done() const { return state()->ended_; }
  // Once, of a task that is done (CHECK).
  T TakeResult() {
    FIXPOOL_CHECK(done(), "the result of a task that has not ended");
    return promise_->TakeResult();
  }
  // The scheduler owns it from now on, and drops its result. A task may detach itself.
  void Detach() && {
    TaskState* task = std::exchange(promise_, nullptr);
    if (task->ended_) {
      task->Destroy();
    } else {
      task->detached_->Add(task, nullptr);
    }
  }

  class [[nodiscard]] Awaiter final : public WaitNode {
   public:
    explicit Awaiter(SpawnedTask task) : task_(std::move(task)) {}
    ~Awaiter() {
      if (!suspended()) return;
      if (waiting()) task_.state()->joiners_.Remove(this);
      Withdraw();
    }
    bool await_ready() const { return task_.done(); }
    template <std::derived_from<TaskState> Promise>
    void await_suspend(std::coroutine_handle<Promise> parent) {
      Suspend(parent);
      task_.state()->joiners_.PushBack(this);
    }
    T await_resume() { return task_.TakeResult(); }

   private:
    SpawnedTask task_;
  };
  Awaiter operator co_await() && { return Awaiter(std::move(*this)); }

 private:
  friend class TaskScheduler;

  explicit SpawnedTask(TaskPromise<T>* promise) : promise_(promise) {}
  TaskState* state() const { return promise_; }

  TaskPromise<T>* promise_;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_SPAWNED_TASK_H_
