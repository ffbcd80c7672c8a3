#include "fixpool/storage/task_group.h"

#include "fixpool/storage/task.h"
#include "fixpool/storage/task_state.h"

namespace fixpool::storage {

TaskGroup::~TaskGroup() {
  // Not without need: the message is an allocation.
  if (first_ != nullptr) Cancel(absl::CancelledError("the scheduler went before the task ended"));
}

void TaskGroup::Add(TaskState* task, absl::Status* outcome) {
  task->group_ = this;
  task->outcome_ = outcome;
  task->prev_ = last_;
  task->next_ = nullptr;
  (last_ == nullptr ? first_ : last_->next_) = task;
  last_ = task;
  ++size_;
}

void TaskGroup::Remove(TaskState* task) {
  (task->prev_ == nullptr ? first_ : task->prev_->next_) = task->next_;
  (task->next_ == nullptr ? last_ : task->next_->prev_) = task->prev_;
  task->group_ = nullptr;
  --size_;
}

void TaskGroup::Ended(TaskState* task) {
  if (results_ == Results::kCollected) {
    Note(static_cast<TaskPromise<absl::Status>*>(task)->TakeResult(), task->outcome_);
  }
  task->Destroy();
}

void TaskGroup::Note(const absl::Status& result, absl::Status* outcome) {
  if (outcome != nullptr) *outcome = result;
  if (first_error_.ok() && !result.ok()) first_error_ = result;
}

void TaskGroup::Cancel(const absl::Status& why) {
  while (first_ != nullptr) {
    if (first_->outcome_ != nullptr) *first_->outcome_ = why;
    first_->Destroy();
  }
}

}  // namespace fixpool::storage
