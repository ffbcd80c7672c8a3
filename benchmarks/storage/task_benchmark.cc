// What a task costs that does not wait, and one that does, beside a call through std::function
// and a coroutine of the usual kind: a frame from malloc, symmetric transfer, no scheduler.

#include <concepts>
#include <coroutine>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "benchmark/benchmark.h"
#include "fixpool/storage/coroutine_frames.h"
#include "fixpool/storage/progress.h"
#include "fixpool/storage/task_scheduler.h"

namespace fixpool::storage {
namespace {

class NoProgress final : public Progress {
 public:
  void Poll() override {}
  bool Wait(io::Deadline) override { return false; }
  void Interrupt() override {}
};

// A lazy coroutine as textbooks have it.
class MallocTask {
 public:
  struct promise_type;
  using Handle = std::coroutine_handle<promise_type>;

  struct promise_type {
    struct Final {
      bool await_ready() const noexcept { return false; }
      std::coroutine_handle<> await_suspend(Handle task) const noexcept {
        return task.promise().parent;
      }
      void await_resume() const noexcept {}
    };
    MallocTask get_return_object() { return MallocTask(Handle::from_promise(*this)); }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    Final final_suspend() const noexcept { return {}; }
    void return_value(absl::Status status) { result = std::move(status); }
    void unhandled_exception() const noexcept { std::terminate(); }

    std::coroutine_handle<> parent = std::noop_coroutine();
    absl::Status result;
  };

  explicit MallocTask(Handle handle) : handle_(handle) {}
  MallocTask(MallocTask&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  ~MallocTask() {
    if (handle_) handle_.destroy();
  }

  bool await_ready() const { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> parent) {
    handle_.promise().parent = parent;
    return handle_;
  }
  absl::Status await_resume() { return std::move(handle_.promise().result); }

  void Resume() { handle_.resume(); }

 private:
  Handle handle_;
};

__attribute__((noinline)) MallocTask MallocLeaf(int* sum) {
  ++*sum;
  co_return absl::OkStatus();
}
MallocTask MallocLoop(benchmark::State& state, int* sum) {
  for (auto _ : state) benchmark::DoNotOptimize(co_await MallocLeaf(sum));
  co_return absl::OkStatus();
}

__attribute__((noinline)) Task<absl::Status> Leaf(TaskScheduler&, int* sum) {
  ++*sum;
  co_return absl::OkStatus();
}
Task<absl::Status> Loop(TaskScheduler& scheduler, benchmark::State& state, int* sum) {
  for (auto _ : state) benchmark::DoNotOptimize(co_await Leaf(scheduler, sum));
  co_return absl::OkStatus();
}
Task<absl::Status> YieldLoop(TaskScheduler&, benchmark::State& state) {
  for (auto _ : state) co_await TaskScheduler::Yield();
  co_return absl::OkStatus();
}
Task<absl::Status> YieldOnce(TaskScheduler&) {
  co_await TaskScheduler::Yield();
  co_return absl::OkStatus();
}

void BM_Baseline_StdFunction(benchmark::State& state) {
  int sum = 0;
  int* target = &sum;
  std::function<absl::Status()> function = [target] {
    ++*target;
    return absl::OkStatus();
  };
  benchmark::DoNotOptimize(function);
  for (auto _ : state) benchmark::DoNotOptimize(function());
}

void BM_Baseline_MallocCoroutine(benchmark::State& state) {
  int sum = 0;
  MallocTask task = MallocLoop(state, &sum);
  task.Resume();
}

void BM_CoroutineFrames_AllocateFree(benchmark::State& state) {
  const auto frames = CoroutineFrames::Create().value();
  for (auto _ : state) {
    void* frame = frames->Allocate(200);
    benchmark::DoNotOptimize(frame);
    CoroutineFrames::Free(frame);
  }
}

void BM_Baseline_MallocFree(benchmark::State& state) {
  for (auto _ : state) {
    void* frame = std::malloc(200);
    benchmark::DoNotOptimize(frame);
    std::free(frame);
  }
}

// Made, run, destroyed; it does not wait.
void BM_Task_Await(benchmark::State& state) {
  const auto frames = CoroutineFrames::Create().value();
  NoProgress progress;
  TaskScheduler scheduler(frames.get(), &progress);
  int sum = 0;
  if (!scheduler.Run(Loop(scheduler, state, &sum)).ok()) state.SkipWithError("the task failed");
}

// Suspended, woken, resumed, through the ready queue; alone, so that a turn of the scheduler,
// which asks Progress, is in it each time.
void BM_Task_SuspendWakeResume(benchmark::State& state) {
  const auto frames = CoroutineFrames::Create().value();
  NoProgress progress;
  TaskScheduler scheduler(frames.get(), &progress);
  if (!scheduler.Run(YieldLoop(scheduler, state)).ok()) state.SkipWithError("the task failed");
}

// Of tasks that wait once, so many at a time: from being made to being destroyed.
void BM_Task_RunConcurrently(benchmark::State& state) {
  const auto frames = CoroutineFrames::Create().value();
  NoProgress progress;
  TaskScheduler scheduler(frames.get(), &progress);
  const absl::Status status = scheduler.RunConcurrently(
      [&]() -> std::optional<Task<absl::Status>> {
        if (!state.KeepRunning()) return std::nullopt;
        return YieldOnce(scheduler);
      },
      {.in_flight = static_cast<size_t>(state.range(0))});
  if (!status.ok()) state.SkipWithError("a task failed");
}

BENCHMARK(BM_Baseline_StdFunction);
BENCHMARK(BM_Baseline_MallocCoroutine);
BENCHMARK(BM_Baseline_MallocFree);
BENCHMARK(BM_CoroutineFrames_AllocateFree);
BENCHMARK(BM_Task_Await);
BENCHMARK(BM_Task_SuspendWakeResume);
BENCHMARK(BM_Task_RunConcurrently)->ArgName("in_flight")->Arg(1)->Arg(128);

}  // namespace
}  // namespace fixpool::storage
