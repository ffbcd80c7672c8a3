#include "fixpool/storage/wait_node.h"

#include "fixpool/storage/task_loop.h"
#include "fixpool/storage/task_state.h"

namespace fixpool::storage {

void WaitNode::Wake() { task_->loop()->Wake(this); }

void WaitNode::Withdraw() {
  suspended_ = false;
  // It was not woken, and so nobody can any more.
  if (waiting_) {
    waiting_ = false;
    return;
  }
  task_->loop()->Remove(this);
}

}  // namespace fixpool::storage
