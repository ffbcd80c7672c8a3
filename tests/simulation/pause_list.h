#ifndef FIXPOOL_TESTS_SIMULATION_PAUSE_LIST_H_
#define FIXPOOL_TESTS_SIMULATION_PAUSE_LIST_H_

#include <concepts>
#include <coroutine>

#include "fixpool/storage/task_state.h"
#include "fixpool/storage/wait_node.h"

namespace fixpool::simulation {

// Tasks that do nothing until they are told to go on: `co_await list.Pause()`. One thread.
class PauseList {
 public:
  class [[nodiscard]] Awaiter final : public storage::WaitNode {
   public:
    explicit Awaiter(PauseList& list) : list_(list) {}
    ~Awaiter() {
      if (!suspended()) return;
      if (waiting()) list_.waiters_.Remove(this);
      Withdraw();
    }
    bool await_ready() const { return false; }
    template <std::derived_from<storage::TaskState> Promise>
    void await_suspend(std::coroutine_handle<Promise> task) {
      Suspend(task);
      list_.waiters_.PushBack(this);
    }
    void await_resume() const {}

   private:
    PauseList& list_;
  };

  Awaiter Pause() { return Awaiter(*this); }
  // The one that waits longest. False: nobody does.
  bool ResumeOne() {
    storage::WaitNode* const node = waiters_.PopFront();
    if (node != nullptr) node->Wake();
    return node != nullptr;
  }

 private:
  storage::WaitList waiters_;
};

}  // namespace fixpool::simulation

#endif  // FIXPOOL_TESTS_SIMULATION_PAUSE_LIST_H_
