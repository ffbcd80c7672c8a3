#ifndef FIXPOOL_STORAGE_TASK_STATE_H_
#define FIXPOOL_STORAGE_TASK_STATE_H_

#include "fixpool/io/require_cpp20.h"

#include <coroutine>

#include "absl/status/status.h"
#include "fixpool/storage/task_loop.h"
#include "fixpool/storage/wait_node.h"

namespace fixpool::storage {

class TaskGroup;

// What is the same in every Task's promise, whatever its result: where it runs, and who goes on
// when it ends. A task that was given to a scheduler is a root; one that another task awaits has
// a parent. Lives in the coroutine's frame. Its loop's thread only.
class TaskState {
 public:
  TaskState(const TaskState&) = delete;
  TaskState& operator=(const TaskState&) = delete;

  TaskLoop* loop() const { return loop_; }

  // `task`, which has not run yet, runs now, and this one when it has ended.
  void Await(TaskState* task) {
    task->loop_ = loop_;
    task->root_ = root_;
    task->parent_ = this;
    loop_->HandOverTo(task);
  }

  // In the last suspension.
  void Ended();

  // Destroys the frame, which has not run, or is suspended, or has ended. Out of line, so that
  // no compiler puts the frame into that of its caller instead: the caller's would grow, and
  // clang 14 sometimes does so to frames that live longer (llvm-project issue 59723).
  void Destroy();

 protected:
  explicit TaskState(std::coroutine_handle<> handle) : handle_(handle) {}
  ~TaskState();

 private:
  friend class TaskGroup;
  friend class TaskLoop;
  friend class TaskScheduler;
  template <typename T>
  friend class SpawnedTask;

  // In the ready queue until a root runs for the first time.
  class StartNode final : public WaitNode {
   public:
    ~StartNode() {
      if (suspended()) Withdraw();
    }
    void MakeReady(TaskState* task) {
      task_ = task;
      suspended_ = true;
      Wake();
    }
  };

  const std::coroutine_handle<> handle_;
  TaskLoop* loop_ = nullptr;     // null: has not been started
  TaskState* parent_ = nullptr;  // null: a root
  TaskState* root_ = nullptr;

  // ---- Of roots only ----
  StartNode start_;
  bool ended_ = false;
  TaskGroup* group_ = nullptr;     // owns the frame; null: a SpawnedTask does
  TaskGroup* detached_ = nullptr;  // of its scheduler: where Detach leaves it
  TaskState* prev_ = nullptr;      // in group_
  TaskState* next_ = nullptr;
  absl::Status* outcome_ = nullptr;  // where group_ puts the result; may be null
  WaitList joiners_;                 // who await the SpawnedTask: one at most
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_TASK_STATE_H_
