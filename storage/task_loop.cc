#include "fixpool/storage/task_loop.h"

#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fixpool/io/check.h"
#include "fixpool/storage/task_state.h"

namespace fixpool::storage {

const void* TaskLoop::ThisThread() {
  static constinit thread_local char marker = 0;
  return &marker;
}

TaskLoop::TaskLoop(Progress* progress) : progress_(progress), thread_(ThisThread()) {}

TaskLoop::~TaskLoop() {
  FIXPOOL_CHECK(unfinished_ == 0,
                absl::StrCat(unfinished_, " spawned tasks outlive their scheduler"));
  while (wakers_.load(std::memory_order_acquire) != 0) std::this_thread::yield();
}

void TaskLoop::Wake(WaitNode* node) {
  node->waiting_ = false;
  if (!OnOwnThread()) return WakeFromOutside(node);
  TakeIncoming();
  ready_.PushBack(node);
  ++ready_count_;
}

void TaskLoop::WakeFromOutside(WaitNode* node) {
  wakers_.fetch_add(1, std::memory_order_relaxed);
  WaitNode* first = incoming_.load(std::memory_order_relaxed);
  do {
    node->next_ = first;
  } while (!incoming_.compare_exchange_weak(first, node, std::memory_order_seq_cst,
                                            std::memory_order_relaxed));
  // Either this sees that the loop is idle, or BecomeIdle sees the node.
  if (idle_.load(std::memory_order_seq_cst) && idle_.exchange(false)) progress_->Interrupt();
  wakers_.fetch_sub(1, std::memory_order_release);
}

void TaskLoop::TakeIncoming() {
  if (incoming_.load(std::memory_order_relaxed) == nullptr) return;
  WaitNode* last = incoming_.exchange(nullptr, std::memory_order_acquire);
  WaitNode* first = nullptr;
  while (last != nullptr) {
    WaitNode* before = last->next_;
    last->next_ = first;
    first = std::exchange(last, before);
  }
  while (first != nullptr) {
    WaitNode* after = first->next_;
    ready_.PushBack(first);
    ++ready_count_;
    first = after;
  }
}

void TaskLoop::Start(TaskState* root) {
  root->loop_ = this;
  root->root_ = root;
  ++unfinished_;
  root->start_.MakeReady(root);
}

size_t TaskLoop::CountReady() {
  TakeIncoming();
  return ready_count_;
}

TaskState* TaskLoop::RunFirst() {
  WaitNode* node = ready_.PopFront();
  if (node == nullptr) return nullptr;
  --ready_count_;
  if (node->look_ != nullptr && !node->look_(node)) return nullptr;
  node->suspended_ = false;
  TaskState* task = node->task_;
  running_root_ = task->root_;
  do {
    next_ = nullptr;
    task->handle_.resume();
    task = next_;
  } while (task != nullptr);
  running_root_ = nullptr;
  return std::exchange(ended_, nullptr);
}

void TaskLoop::Remove(WaitNode* node) {
  TakeIncoming();
  ready_.Remove(node);
  --ready_count_;
}

bool TaskLoop::BecomeIdle() {
  idle_.store(true, std::memory_order_seq_cst);
  if (incoming_.load(std::memory_order_seq_cst) == nullptr) return true;
  BecomeBusy();
  return false;
}

}  // namespace fixpool::storage
