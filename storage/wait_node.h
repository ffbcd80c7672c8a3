#ifndef FIXPOOL_STORAGE_WAIT_NODE_H_
#define FIXPOOL_STORAGE_WAIT_NODE_H_

#include "fixpool/io/require_cpp20.h"

#include <coroutine>

#include "fixpool/io/check.h"

namespace fixpool::storage {

class TaskState;
class WaitList;

// A suspended task in the list of what it waits for: the base of awaitables.
//
//   class Event {                                    // stays set once it is
//     class Awaiter final : public WaitNode {
//      public:
//       explicit Awaiter(Event& event) : event_(event) {}
//       ~Awaiter() {
//         if (!suspended()) return;
//         { MutexLock lock(event_.mutex_); if (waiting()) event_.waiters_.Remove(this); }
//         Withdraw();
//       }
//       bool await_ready() const { return false; }
//       template <typename Promise>
//       bool await_suspend(std::coroutine_handle<Promise> task) {
//         MutexLock lock(event_.mutex_);
//         if (event_.set_) return false;
//         Suspend(task);
//         event_.waiters_.PushBack(this);
//         return true;
//       }
//       void await_resume() const {}
//      ...
//     void Set() { MutexLock lock(mutex_); set_ = true;
//                  while (WaitNode* node = waiters_.PopFront()) node->Wake(); }
//
// The node lives in the awaiter, and so in the frame of the task that awaits it: waiting
// allocates nothing. Whoever destroys the task destroys the node, which leaves whatever list
// it is in.
//
// Who may touch a node when. "The lock" is that of what it waits for; "the owner" is the thread
// of its task's scheduler.
//   running    the owner only.
//   waiting    from Suspend, under the lock: whoever holds the lock. One of them takes it out
//              of the list: the waker, who calls Wake before giving the lock back, or the owner,
//              who destroys it. (A list moved elsewhere, to wake its nodes without the lock,
//              would be neither.)
//   ready      from Wake: the owner only. The waker does not touch it again.
// So the owner that wants to destroy a node which may be waiting takes the lock first. Then
// either the node is in the list still, and nobody else can get at it any more once it is out;
// or its waker is done with it, and it is in the scheduler's ready queue, which Withdraw()
// takes it out of. Nothing is lost and nothing is resumed afterwards. The lock must not be held
// while tasks run.
//
// What a waker gave away (a latch, say) and its task never came to take, the destructor has to
// pass on: suspended() && !waiting() says so. A waker that cannot give anything away makes ready
// whoever may find what he waits for, and SetLook lets each see for himself.
class WaitNode {
 public:
  WaitNode(const WaitNode&) = delete;
  WaitNode& operator=(const WaitNode&) = delete;

  // Makes the task ready: it goes on behind those that are ready already, on its own thread.
  // Any thread, under the lock, once the node is out of the list. Takes no lock; retries
  // against others who wake tasks of the same scheduler; from another thread it may come to
  // Progress::Interrupt.
  void Wake();

 protected:
  WaitNode() = default;
  ~WaitNode() { FIXPOOL_CHECK(!suspended_, "an awaiter goes without Withdraw()"); }

  // In await_suspend, under the lock, which finds the node in its list before it is given back.
  template <typename Promise>
  void Suspend(std::coroutine_handle<Promise> task) {
    Suspend(&task.promise());
  }
  void Suspend(TaskState* task) {
    task_ = task;
    suspended_ = true;
    waiting_ = true;
  }

  // For what one may wake up for in vain, because others were faster: called by the owner when
  // the woken task's turn has come, outside of all tasks. False: it waits on (WaitAgain), and
  // the task is not resumed. Set before Suspend.
  using Look = bool (*)(WaitNode* node);
  void SetLook(Look look) { look_ = look; }
  // In Look, under the lock, like Suspend.
  void WaitAgain() { waiting_ = true; }

  // The owner: the task is suspended here, and has not been resumed.
  bool suspended() const { return suspended_; }
  // The owner, under the lock: nobody has woken it.
  bool waiting() const { return waiting_; }
  // The owner, once it is not waiting, without the lock: out of the ready queue, for ever.
  void Withdraw();

 private:
  friend class TaskLoop;
  friend class TaskState;
  friend class WaitList;

  TaskState* task_ = nullptr;  // written by the owner while running
  WaitNode* prev_ = nullptr;   // of the list that it is in
  WaitNode* next_ = nullptr;   // likewise; on the way to the ready queue: the one before
  Look look_ = nullptr;        // null: whoever is woken goes on
  bool suspended_ = false;     // the owner's
  bool waiting_ = false;       // guarded by the lock
};

// Nodes in the order in which they came. Guarded by its owner's lock. Outlives its nodes, or is
// empty when it goes.
class WaitList {
 public:
  WaitList() = default;
  ~WaitList() { FIXPOOL_CHECK(empty(), "something goes that tasks wait for"); }
  WaitList(const WaitList&) = delete;
  WaitList& operator=(const WaitList&) = delete;

  bool empty() const { return first_ == nullptr; }

  void PushBack(WaitNode* node) {
    node->prev_ = last_;
    node->next_ = nullptr;
    (last_ == nullptr ? first_ : last_->next_) = node;
    last_ = node;
  }

  void PushFront(WaitNode* node) {
    node->prev_ = nullptr;
    node->next_ = first_;
    (first_ == nullptr ? last_ : first_->prev_) = node;
    first_ = node;
  }

  // Null: there is none (or none after it).
  WaitNode* first() const { return first_; }
  static WaitNode* After(const WaitNode* node) { return node->next_; }

  void Remove(WaitNode* node) {
    (node->prev_ == nullptr ? first_ : node->prev_->next_) = node->next_;
    (node->next_ == nullptr ? last_ : node->next_->prev_) = node->prev_;
  }

  // Null: it is empty.
  WaitNode* PopFront() {
    WaitNode* node = first_;
    if (node != nullptr) Remove(node);
    return node;
  }

 private:
  WaitNode* first_ = nullptr;
  WaitNode* last_ = nullptr;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_WAIT_NODE_H_
