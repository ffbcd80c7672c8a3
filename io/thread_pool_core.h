#ifndef FIXPOOL_IO_THREAD_POOL_CORE_H_
#define FIXPOOL_IO_THREAD_POOL_CORE_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "fixpool/io/buffer_table.h"
#include "fixpool/io/engine_options.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/mutex.h"
#include "fixpool/io/operation.h"
#include "fixpool/io/ready_signal.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::io {

// What a ThreadPoolEngine shares with its threads. An operation goes from to_do_ to a
// thread and then to ready_; both queues are bounded by the number of operations.
// Thread-safe.
class ThreadPoolCore final : public BufferTable {
 public:
  ThreadPoolCore(FixedBufferRegistry* registry, const EngineOptions& options, EngineReport origin);

  // BufferTable: there is no table in the kernel; what counts is the progress.
  absl::Status Set(uint16_t, const MemoryRegion&) override { return absl::OkStatus(); }
  absl::Status Clear(uint16_t) override { return absl::OkStatus(); }
  void MakeProgress(Deadline deadline) override;

  absl::StatusOr<FileHandle> AddFile(std::shared_ptr<File> file);
  absl::Status RemoveFile(FileHandle file, Deadline deadline);
  absl::StatusOr<EngineLevel> LevelOf(FileHandle file) const;
  SubmitResult Submit(absl::Span<const IoRequest> requests);
  size_t Reap(absl::Span<IoCompletion> completions, Deadline deadline);
  absl::StatusOr<int> CompletionDescriptor();
  uint32_t depth() const { return options_.depth; }
  uint32_t joined_depth() const { return std::min(depth(), options_.joined_depth); }
  uint32_t in_flight() const;
  EngineReport Report() const;

  // What a thread of the pool does until Stop.
  void RunWorker();
  // True once no thread is in a system call and nothing is left to do.
  bool Drain(Deadline deadline);
  // Ends the threads. With `abandon` they also leave alone what is not done yet, and a
  // thread that comes back from the kernel later touches neither registry nor user.
  void Stop(bool abandon);

 private:
  // Takes the result of a thread's system call.
  void Book(uint32_t index, int result);
  size_t PopReady(absl::Span<IoCompletion> completions) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  FixedBufferRegistry* const registry_;
  Environment* const environment_;
  const EngineOptions options_;
  const EngineReport origin_;

  std::atomic<uint32_t> work_epoch_{0};  // bumped with to_do_ or stop_
  std::atomic<uint32_t> done_epoch_{0};  // bumped with ready_

  mutable Mutex mutex_;
  OperationPool operations_ ABSL_GUARDED_BY(mutex_);
  FileTable files_ ABSL_GUARDED_BY(mutex_);
  OperationList to_do_ ABSL_GUARDED_BY(mutex_);
  OperationList ready_ ABSL_GUARDED_BY(mutex_);
  ReadySignal ready_signal_ ABSL_GUARDED_BY(mutex_);
  uint32_t unfinished_ ABSL_GUARDED_BY(mutex_) = 0;  // in to_do_ or with a thread
  uint32_t idle_workers_ ABSL_GUARDED_BY(mutex_) = 0;
  uint32_t sleepers_ ABSL_GUARDED_BY(mutex_) = 0;  // waiting on done_epoch_
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  bool abandoned_ ABSL_GUARDED_BY(mutex_) = false;
  EngineCounters counters_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_THREAD_POOL_CORE_H_
