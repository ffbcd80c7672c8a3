#ifndef FIXPOOL_STORAGE_TASK_H_
#define FIXPOOL_STORAGE_TASK_H_

#include "fixpool/io/require_cpp20.h"

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <optional>
#include <type_traits>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/base/optimization.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/io/check.h"
#include "fixpool/storage/coroutine_frames.h"
#include "fixpool/storage/task_state.h"

namespace fixpool::storage {

template <typename T>
class Task;
class TaskScheduler;

namespace internal {

template <typename T>
struct IsTaskResult : std::false_type {};
template <>
struct IsTaskResult<absl::Status> : std::true_type {};
template <typename T>
struct IsTaskResult<absl::StatusOr<T>> : std::true_type {};

}  // namespace internal

// What a task returns. There is always a way to say that it could not even be made.
template <typename T>
concept TaskResult = internal::IsTaskResult<T>::value;

// A parameter that tells a coroutine where its frame is to be. A TaskScheduler is one.
template <typename T>
concept HasCoroutineFrames = requires(const T& t) {
  { t.coroutine_frames() } -> std::same_as<CoroutineFrames&>;
};

namespace internal {

template <typename First, typename... Rest>
CoroutineFrames& FindFrames(First& first, Rest&... rest) {
  if constexpr (HasCoroutineFrames<First>) {
    return first.coroutine_frames();
  } else {
    return FindFrames(rest...);
  }
}

}  // namespace internal

// The promise of Task<T>.
template <TaskResult T>
class TaskPromise final : public TaskState {
 public:
  TaskPromise() : TaskState(std::coroutine_handle<TaskPromise>::from_promise(*this)) {}

  // Inlined with or without optimisation: g++ 12 takes a template's allocation and a plain
  // deallocation for a mismatch, and warns where the user's coroutine ends.
  template <typename... Args>
  ABSL_ATTRIBUTE_ALWAYS_INLINE static void* operator new(size_t size_bytes,
                                                         Args&... args) noexcept {
    static_assert((HasCoroutineFrames<Args> || ...),
                  "One parameter of a Task's coroutine has to be a TaskScheduler&, or another "
                  "type with coroutine_frames(): its frame is allocated there.");
    if constexpr ((HasCoroutineFrames<Args> || ...)) {
      return internal::FindFrames(args...).Allocate(size_bytes);
    } else {
      return nullptr;
    }
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE static void operator delete(void* frame, size_t) {
    CoroutineFrames::Free(frame);
  }
  static Task<T> get_return_object_on_allocation_failure() {
    return Task<T>(CoroutineFrames::LastRefusal());
  }
  Task<T> get_return_object() { return Task<T>(this); }

  class FinalAwaiter {
   public:
    FinalAwaiter() {}
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<TaskPromise> task) const noexcept {
      task.promise().Ended();
    }
    void await_resume() const noexcept {}
  };
  std::suspend_always initial_suspend() const noexcept { return {}; }
  FinalAwaiter final_suspend() const noexcept { return FinalAwaiter(); }

  void return_value(T result) { result_.emplace(std::move(result)); }
  void unhandled_exception() const noexcept {
    FIXPOOL_CHECK(false, "an exception came out of a Task, in which there must not be any");
  }

  // Once, when it has ended.
  T TakeResult() { return *std::move(result_); }

 private:
  // Not there before the end: a T need not be assignable, nor have a value that says nothing.
  std::optional<T> result_;
};

// A coroutine that returns a Status, or a value or a Status, and can wait without its thread
// doing so.
//
//   Task<absl::StatusOr<Row>> Lookup(TaskScheduler& scheduler, PageCache& cache, Key key) {
//     PageId page = root;
//     while (...) {
//       absl::StatusOr<ReadGuard> guard = co_await cache.ReadAsync(page);   // others run now
//       if (!guard.ok()) co_return guard.status();
//       ...
//     }
//     co_return row;
//   }
//   absl::StatusOr<Row> row = co_await Lookup(scheduler, cache, key);       // in another task
//   absl::StatusOr<Row> row = scheduler.Run(Lookup(scheduler, cache, key)); // outside of tasks
//
// Nothing of it runs before it is awaited or given to a TaskScheduler.
//
// Memory: the frame is one of the CoroutineFrames of the first parameter that has some
// (TaskScheduler has; for a lambda or a member function the object itself may). A parameter and
// not a scheduler that is current on the thread: what is not there does not compile, and a
// thread may have two of them. If no frame is free, or the coroutine's is too large, there is a
// Task all the same, that never runs and whose result is ResourceExhausted or InvalidArgument
// as by CoroutineFrames::LastRefusal(). Nothing else is ever allocated.
// Locals and parameters with an alignment above 16 are not aligned so (g++ 12, clang 14).
//
// Stack: what a chain of awaits takes does not grow with its length; see TaskLoop. How deep
// tasks await each other is bounded by the number of frames. Destroying a task that is
// suspended n awaits deep takes n calls deep of stack.
//
// Ownership: move-only, owns the frame. co_await takes it over, and gives the frame back at the
// end of the full expression. Destroying a task that is suspended destroys what it awaits
// first, then its own locals, the last one first; what it waits for forgets it (WaitNode). A
// task cannot be destroyed while it runs (CHECK). What parameters of reference type refer to
// must outlive the task; so must a lambda the task that it is.
// Threads: belongs to the thread of its scheduler once it runs.
// Errors: no exceptions: one that leaves the coroutine is a CHECK.
//
// Of g++ 12: temporaries of an aggregate or closure type with a destructor, in an expression
// with co_await, are destroyed twice, and `co_await (c ? A() : B())` crashes. Give them a name
// before. See docs/coroutines.md.
template <typename T>
class [[nodiscard]] Task {
  static_assert(TaskResult<T>,
                "T is absl::Status or absl::StatusOr<X>: a task may fail to be made");

 public:
  using promise_type = TaskPromise<T>;

  // A task that never runs and has this result, which must not be OK.
  explicit Task(absl::Status refusal) : refusal_(std::move(refusal)) {}
  Task(Task&& other) noexcept
      : promise_(std::exchange(other.promise_, nullptr)),
        refusal_(std::exchange(other.refusal_, absl::OkStatus())) {}
  Task& operator=(Task&& other) noexcept {
    Task old(std::move(*this));
    promise_ = std::exchange(other.promise_, nullptr);
    refusal_ = std::exchange(other.refusal_, absl::OkStatus());
    return *this;
  }
  ~Task() {
    if (promise_ != nullptr) promise_->Destroy();
  }

  // OK: it has a frame, and will run. Else what awaiting it comes to: FailedPrecondition if it
  // was moved from.
  absl::Status status() const {
    if (promise_ != nullptr) return absl::OkStatus();
    if (!refusal_.ok()) return refusal_;
    return absl::FailedPreconditionError("this task was moved from, or awaited before");
  }

  class [[nodiscard]] Awaiter {
   public:
    explicit Awaiter(Task task) : task_(std::move(task)) {}
    Awaiter(const Awaiter&) = delete;
    Awaiter& operator=(const Awaiter&) = delete;

    bool await_ready() const { return task_.promise_ == nullptr; }
    template <std::derived_from<TaskState> Promise>
    void await_suspend(std::coroutine_handle<Promise> parent) {
      parent.promise().Await(task_.promise_);
    }
    T await_resume() {
      if (ABSL_PREDICT_FALSE(task_.promise_ == nullptr)) return task_.status();
      return task_.promise_->TakeResult();
    }

   private:
    Task task_;
  };
  Awaiter operator co_await() && { return Awaiter(std::move(*this)); }

 private:
  friend class TaskPromise<T>;
  friend class TaskScheduler;

  explicit Task(TaskPromise<T>* promise) : promise_(promise) {}

  TaskPromise<T>* promise_ = nullptr;
  absl::Status refusal_;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_TASK_H_
