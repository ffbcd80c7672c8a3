#ifndef FIXPOOL_STORAGE_PROGRESS_H_
#define FIXPOOL_STORAGE_PROGRESS_H_

#include "fixpool/io/require_cpp20.h"

#include "fixpool/io/environment.h"

namespace fixpool::storage {

// Where a TaskScheduler that has nothing to run goes to, so that something comes to an end and
// wakes a task. A page cache's takes completions in; a program without any waits on a futex.
//
// Threads: Poll and Wait are called by the scheduler's thread, outside of all tasks. Both may
// wake nodes. Interrupt is called by any other thread.
// Ownership: outlives the scheduler.
class Progress {
 public:
  virtual ~Progress() = default;

  // Takes in what has come to an end, without waiting.
  virtual void Poll() = 0;

  // Sends off what tasks have begun and this may have put off, so that it goes together. Called
  // before a scheduler hands control back to the caller's own loop; Wait does so by itself.
  virtual void Submit() {}

  // Waits until something has come to an end, or Interrupt was called since the last Wait
  // returned, or the deadline passed; or returns early for no reason.
  // False: at once, since nothing is under way that could ever wake a task: no transfer in
  // flight, no other thread that holds what one waits for. The scheduler then takes its tasks
  // for deadlocked. In doubt, true: a deadline ends what this cannot see.
  virtual bool Wait(io::Deadline deadline) = 0;

  // Another thread woke a task of a scheduler that is, or is about to be, in Wait, or that is
  // driven by RunReady from a loop of the caller's, which it should now make call RunReady.
  // Not forgotten if it comes just before Wait. Called at most once until the scheduler runs
  // again, and with the waker's locks held: must not take them, and must not wait.
  virtual void Interrupt() = 0;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_PROGRESS_H_
