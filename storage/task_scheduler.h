#ifndef FIXPOOL_STORAGE_TASK_SCHEDULER_H_
#define FIXPOOL_STORAGE_TASK_SCHEDULER_H_

#include "fixpool/io/require_cpp20.h"

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <optional>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "fixpool/io/environment.h"
#include "fixpool/storage/coroutine_frames.h"
#include "fixpool/storage/progress.h"
#include "fixpool/storage/spawned_task.h"
#include "fixpool/storage/task.h"
#include "fixpool/storage/task_group.h"
#include "fixpool/storage/task_loop.h"
#include "fixpool/storage/wait_node.h"

namespace fixpool::storage {

// Keeps many tasks going on one thread: while one waits, others run.
//
//   TaskScheduler scheduler(frames.get(), &progress);
//   size_t next = 0;
//   absl::Status all = scheduler.RunConcurrently(
//       [&]() -> std::optional<Task<absl::Status>> {
//         if (next == keys.size()) return std::nullopt;
//         return Lookup(scheduler, cache, keys[next++]);
//       },
//       {.in_flight = 128});
//
// Or driven by a loop of the caller's: Spawn() what there is to do, and RunReady() whenever
// Progress has something new.
//
// Order: tasks run in the order in which they became ready, each until it waits. One that never
// waits keeps all others from running; Yield() lets them.
// Memory: nothing is allocated but frames of `frames`, and the messages of errors.
// Ownership: frames, progress and environment outlive it. It destroys detached tasks that have
// not ended; that no other SpawnedTask has not ended is a CHECK.
// Threads: belongs to the thread that made it, and so do its tasks. Any thread may wake them:
// see WaitNode.
class TaskScheduler {
 public:
  struct RunOptions {
    // Tasks started and not ended, at most. Each has a frame, and one for each task that it
    // awaits: CoroutineFrames has to have them. Default: what keeps a fast drive busy.
    size_t in_flight = 128;
    // When it passes, what has not ended is destroyed.
    io::Deadline deadline = io::Deadline::Infinite();
  };
  // A task, or nothing: there are no more. Called outside of tasks.
  using TaskSource = absl::FunctionRef<std::optional<Task<absl::Status>>()>;

  // `environment` for the clock, if there are deadlines; null: io::Environment::Default().
  TaskScheduler(CoroutineFrames* frames, Progress* progress,
                io::Environment* environment = nullptr);
  ~TaskScheduler();
  TaskScheduler(const TaskScheduler&) = delete;
  TaskScheduler& operator=(const TaskScheduler&) = delete;

  // Makes the task ready. It first runs when the scheduler next runs.
  // The task's own refusal, if it has no frame. FailedPrecondition: it was moved from; this is
  // another thread.
  template <typename T>
  absl::StatusOr<SpawnedTask<T>> Spawn(Task<T> task);

  // Takes tasks from `next` and runs them, `in_flight` at a time, until all have ended; spawned
  // ones run beside them. A task that fails does not stop the others. OK: all were. Else that
  // which failed first, in time.
  // DeadlineExceeded: the deadline passed. FailedPrecondition: a deadlock: tasks wait, and
  // nothing is under way that could wake one; the message tells how many. In both cases the
  // tasks that have not ended are destroyed, and `next` is not called again.
  // InvalidArgument: in_flight is 0. FailedPrecondition also: called in a task; another thread.
  absl::Status RunConcurrently(TaskSource next, const RunOptions& options);
  absl::Status RunConcurrently(TaskSource next) { return RunConcurrently(next, RunOptions()); }
  // The same with tasks that are there already, which it empties, and the result of each in
  // `results`, in the same place. What came to no end has the error that is returned.
  // InvalidArgument also: `results` is neither empty nor as long as `tasks`.
  absl::Status RunConcurrently(absl::Span<Task<absl::Status>> tasks,
                               absl::Span<absl::Status> results, const RunOptions& options);

  // Runs one task, and those spawned beside it, until it has ended. Its result, or as above.
  template <typename T>
  T Run(Task<T> task, io::Deadline deadline = io::Deadline::Infinite());

  // Lets Progress take in what has come to an end, then resumes what is ready, once each, and
  // returns: what became ready meanwhile is left for the next time. Never waits. To be called
  // before the caller's loop waits, and again when CountReady() is not 0, or Progress has
  // something new, or was interrupted.
  // FailedPrecondition: called in a task; another thread.
  absl::Status RunReady();
  // How many are ready now.
  size_t CountReady() { return loop_.CountReady(); }
  // Spawned or detached, and not ended.
  size_t CountUnfinished() const { return loop_.unfinished(); }

  class [[nodiscard]] YieldAwaiter final : public WaitNode {
   public:
    YieldAwaiter() {}
    ~YieldAwaiter() {
      if (suspended()) Withdraw();
    }
    bool await_ready() const { return false; }
    template <std::derived_from<TaskState> Promise>
    void await_suspend(std::coroutine_handle<Promise> task) {
      Suspend(task);
      Wake();
    }
    void await_resume() const {}
  };
  // To be awaited by a task that has much to do: those that are ready run first.
  static YieldAwaiter Yield() { return YieldAwaiter(); }

  CoroutineFrames& coroutine_frames() const { return *frames_; }

 private:
  using OutcomeSource = absl::FunctionRef<absl::Status*()>;

  absl::Status Refusal(absl::string_view operation) const;
  // Releases the task's frame to the caller, as a root that is ready.
  template <typename T>
  TaskPromise<T>* Start(Task<T>& task);
  absl::Status RunGroup(TaskSource next, OutcomeSource outcome, const RunOptions& options);
  void Fill(TaskGroup& group, TaskSource next, OutcomeSource outcome, size_t in_flight,
            bool* is_more);
  // Runs what is ready, or waits for something to be.
  absl::Status Step(io::Deadline deadline);
  void RunOnce(size_t count);

  CoroutineFrames* const frames_;
  Progress* const progress_;
  io::Environment* const environment_;
  TaskLoop loop_;
  TaskGroup detached_{TaskGroup::Results::kDropped};
};

template <typename T>
TaskPromise<T>* TaskScheduler::Start(Task<T>& task) {
  TaskPromise<T>* promise = std::exchange(task.promise_, nullptr);
  TaskState* state = promise;
  state->detached_ = &detached_;
  loop_.Start(state);
  return promise;
}

template <typename T>
absl::StatusOr<SpawnedTask<T>> TaskScheduler::Spawn(Task<T> task) {
  if (!loop_.OnOwnThread()) return Refusal("TaskScheduler::Spawn");
  if (task.promise_ == nullptr) return task.status();
  return SpawnedTask<T>(Start(task));
}

template <typename T>
T TaskScheduler::Run(Task<T> task, io::Deadline deadline) {
  if (absl::Status refusal = Refusal("TaskScheduler::Run"); !refusal.ok()) return refusal;
  if (task.promise_ == nullptr) return task.status();
  SpawnedTask<T> spawned(Start(task));
  while (!spawned.done()) {
    if (absl::Status status = Step(deadline); !status.ok()) return status;
  }
  return spawned.TakeResult();
}

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_TASK_SCHEDULER_H_
