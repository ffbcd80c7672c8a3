#ifndef FIXPOOL_STORAGE_TASK_LOOP_H_
#define FIXPOOL_STORAGE_TASK_LOOP_H_

#include "fixpool/io/require_cpp20.h"

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "fixpool/storage/progress.h"
#include "fixpool/storage/wait_node.h"

namespace fixpool::storage {

class TaskState;

// Resumes tasks one after the other on one thread: the part of a TaskScheduler that tasks and
// wakers deal with.
//
// A task that awaits another, or ends, does not resume the next one itself: it leaves it here
// and returns, and the loop resumes it. So the stack is as deep after a million awaits as after
// one, with any compiler and any flags. (Symmetric transfer does that only where the compiler
// makes tail calls of it, which g++ 12 does not below -O2, nor for a sanitizer.)
//
// Order: a task that becomes ready goes behind those that are. Wakes by other threads count as
// of when the loop takes them in, those of one thread in their order.
// Threads: belongs to the thread that made it. Wake is for any; for who may call it when, see
// WaitNode. A thread that is in Wake holds the destructor up until it is out.
class TaskLoop {
 public:
  explicit TaskLoop(Progress* progress);
  ~TaskLoop();
  TaskLoop(const TaskLoop&) = delete;
  TaskLoop& operator=(const TaskLoop&) = delete;

  bool OnOwnThread() const { return thread_ == ThisThread(); }

  // Any thread.
  void Wake(WaitNode* node);

  // ---- The loop's thread ----

  // Makes a task that nobody awaits ready for the first time.
  void Start(TaskState* root);
  // How many are ready, those included that other threads woke.
  size_t CountReady();
  // Resumes the first that is ready, and all whom it hands over to, until one waits or the root
  // ends, which is then returned. Null: it waits, or found that it has to wait on, or none was
  // ready.
  TaskState* RunFirst();
  // Takes a node out of the ready queue.
  void Remove(WaitNode* node);

  // The running task will have returned when `task` goes on.
  void HandOverTo(TaskState* task) { next_ = task; }
  // The running task is a root, and its frame may go.
  void RootEnded(TaskState* root) { ended_ = root; }
  void RootGone() { --unfinished_; }

  // From now on a wake by another thread calls Progress::Interrupt. False: there was one just
  // before, and nothing has changed.
  bool BecomeIdle();
  void BecomeBusy() { idle_.store(false, std::memory_order_relaxed); }

  // The root of the task that runs now; null outside of tasks.
  const TaskState* running_root() const { return running_root_; }
  // Roots that were started and have neither ended nor been destroyed.
  size_t unfinished() const { return unfinished_; }

 private:
  static const void* ThisThread();

  void WakeFromOutside(WaitNode* node);
  void TakeIncoming();

  Progress* const progress_;
  const void* const thread_;

  WaitList ready_;
  size_t ready_count_ = 0;
  TaskState* next_ = nullptr;
  TaskState* ended_ = nullptr;
  const TaskState* running_root_ = nullptr;
  size_t unfinished_ = 0;

  // Woken by other threads, the last one first.
  std::atomic<WaitNode*> incoming_{nullptr};
  std::atomic<bool> idle_{false};
  // Threads in WakeFromOutside. The node that one of them handed over may have run, and the
  // scheduler may be about to go, while it still looks at idle_.
  std::atomic<uint32_t> wakers_{0};
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_TASK_LOOP_H_
