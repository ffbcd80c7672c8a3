#ifndef FIXPOOL_STORAGE_TASK_GROUP_H_
#define FIXPOOL_STORAGE_TASK_GROUP_H_

#include "fixpool/io/require_cpp20.h"

#include <cstddef>

#include "absl/status/status.h"

namespace fixpool::storage {

class TaskState;

// Owns the frames of tasks that nobody else holds on to, until they end: those of one
// RunConcurrently, or all that were detached. Its scheduler's thread only.
class TaskGroup {
 public:
  enum class Results {
    kCollected,  // all are Task<absl::Status>
    kDropped,
  };
  explicit TaskGroup(Results results) : results_(results) {}
  // Destroys those that have not ended.
  ~TaskGroup();
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  // `outcome`, if not null, is told how it ends.
  void Add(TaskState* task, absl::Status* outcome);
  // Without destroying it.
  void Remove(TaskState* task);
  // Takes its result and destroys it.
  void Ended(TaskState* task);
  // A task that there never was, or that was taken over when it had ended.
  void Note(const absl::Status& result, absl::Status* outcome);
  // Destroys all that are left, in the order in which they came; `why` is their result.
  void Cancel(const absl::Status& why);

  size_t size() const { return size_; }
  // Of those that ended, the first in time that was not OK.
  const absl::Status& first_error() const { return first_error_; }

 private:
  const Results results_;
  TaskState* first_ = nullptr;
  TaskState* last_ = nullptr;
  size_t size_ = 0;
  absl::Status first_error_;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_TASK_GROUP_H_
