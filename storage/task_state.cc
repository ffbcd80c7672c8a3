#include "fixpool/storage/task_state.h"

#include "fixpool/io/check.h"
#include "fixpool/storage/task_group.h"

namespace fixpool::storage {

void TaskState::Ended() {
  ended_ = true;
  if (parent_ != nullptr) {
    loop_->HandOverTo(parent_);
    return;
  }
  loop_->RootGone();
  loop_->RootEnded(this);
  while (WaitNode* joiner = joiners_.PopFront()) joiner->Wake();
}

void TaskState::Destroy() {
  const bool may_run = loop_ != nullptr && !ended_;  // the loop may be gone before one that ended
  FIXPOOL_CHECK(!may_run || loop_->running_root() != this, "a task destroys itself");
  handle_.destroy();
}

TaskState::~TaskState() {
  if (group_ != nullptr) group_->Remove(this);
  if (root_ == this && !ended_) loop_->RootGone();
}

}  // namespace fixpool::storage
