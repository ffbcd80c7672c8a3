#include "fixpool/storage/task_scheduler.h"

#include "absl/strings/str_cat.h"

namespace fixpool::storage {

TaskScheduler::TaskScheduler(CoroutineFrames* frames, Progress* progress,
                             io::Environment* environment)
    : frames_(frames),
      progress_(progress),
      environment_(environment != nullptr ? environment : io::Environment::Default()),
      loop_(progress) {}

TaskScheduler::~TaskScheduler() = default;

absl::Status TaskScheduler::Refusal(absl::string_view operation) const {
  if (!loop_.OnOwnThread()) {
    return absl::FailedPreconditionError(
        absl::StrCat(operation, ": the scheduler belongs to the thread that made it"));
  }
  if (loop_.running_root() != nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(
        operation, ": called in a task of the same scheduler, which it would hold up: co_await"));
  }
  return absl::OkStatus();
}

absl::Status TaskScheduler::RunConcurrently(TaskSource next, const RunOptions& options) {
  return RunGroup(
      next, [] { return nullptr; }, options);
}

absl::Status TaskScheduler::RunConcurrently(absl::Span<Task<absl::Status>> tasks,
                                            absl::Span<absl::Status> results,
                                            const RunOptions& options) {
  if (!results.empty() && results.size() != tasks.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("room for ", results.size(), " results of ", tasks.size(), " tasks"));
  }
  size_t taken = 0;
  const auto next = [&]() -> std::optional<Task<absl::Status>> {
    if (taken == tasks.size()) return std::nullopt;
    return std::move(tasks[taken++]);
  };
  const auto outcome = [&] { return results.empty() ? nullptr : &results[taken - 1]; };
  const absl::Status status = RunGroup(next, outcome, options);
  // Those that were never started.
  while (next().has_value()) {
    if (absl::Status* unstarted = outcome(); unstarted != nullptr) *unstarted = status;
  }
  return status;
}

absl::Status TaskScheduler::RunGroup(TaskSource next, OutcomeSource outcome,
                                     const RunOptions& options) {
  if (absl::Status refusal = Refusal("TaskScheduler::RunConcurrently"); !refusal.ok()) {
    return refusal;
  }
  if (options.in_flight == 0) {
    return absl::InvalidArgumentError("in_flight is 0: no task could ever run");
  }
  TaskGroup group(TaskGroup::Results::kCollected);
  bool is_more = true;
  while (true) {
    Fill(group, next, outcome, options.in_flight, &is_more);
    if (group.size() == 0) return group.first_error();
    if (absl::Status status = Step(options.deadline); !status.ok()) {
      group.Cancel(status);
      return status;
    }
  }
}

void TaskScheduler::Fill(TaskGroup& group, TaskSource next, OutcomeSource outcome, size_t in_flight,
                         bool* is_more) {
  while (*is_more && group.size() < in_flight) {
    std::optional<Task<absl::Status>> task = next();
    *is_more = task.has_value();
    if (!*is_more) return;
    if (task->promise_ == nullptr) {
      group.Note(task->status(), outcome());
    } else {
      group.Add(Start(*task), outcome());
    }
  }
}

absl::Status TaskScheduler::RunReady() {
  if (absl::Status refusal = Refusal("TaskScheduler::RunReady"); !refusal.ok()) return refusal;
  loop_.BecomeBusy();
  progress_->Poll();
  RunOnce(loop_.CountReady());
  progress_->Submit();
  // If not, CountReady() tells the caller.
  (void)loop_.BecomeIdle();
  return absl::OkStatus();
}

absl::Status TaskScheduler::Step(io::Deadline deadline) {
  if (!deadline.is_infinite() && environment_->Expired(deadline)) {
    return absl::DeadlineExceededError(
        absl::StrCat("the deadline passed while ", loop_.unfinished(), " tasks had not ended"));
  }
  loop_.BecomeBusy();
  progress_->Poll();
  if (const size_t ready = loop_.CountReady(); ready > 0) {
    RunOnce(ready);
    return absl::OkStatus();
  }
  if (!loop_.BecomeIdle()) return absl::OkStatus();
  const bool is_pending = progress_->Wait(deadline);
  loop_.BecomeBusy();
  if (is_pending || loop_.CountReady() > 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("deadlock: ", loop_.unfinished(),
                   " tasks wait, and nothing is under way that could wake one of them"));
}

void TaskScheduler::RunOnce(size_t count) {
  // The queue may run out before: tasks that were ready may have been destroyed.
  for (; count > 0; --count) {
    TaskState* ended = loop_.RunFirst();
    if (ended != nullptr && ended->group_ != nullptr) ended->group_->Ended(ended);
  }
}

}  // namespace fixpool::storage
