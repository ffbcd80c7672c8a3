#ifndef FIXPOOL_IO_URING_CORE_H_
#define FIXPOOL_IO_URING_CORE_H_

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
#include "fixpool/io/uring_ring.h"

namespace fixpool::io {

// Everything of a UringEngine that the kernel may still need when the engine dies.
//
// Two locks. submit_mutex_ guards the submission queue and is held while the kernel takes
// requests, which may be slow; mutex_ guards everything else, the completion queue among
// it, and is never held across a system call that waits. So a thread that reaps does not
// wait for one that submits. Order: submit_mutex_ before mutex_.
//
// Who sleeps: one thread at a time waits in the kernel (waiter_in_kernel_), and while it
// does nobody else touches the completion queue; otherwise the last completion could be
// taken while the waiter is on its way into the kernel, and it would sleep for ever. Other
// waiters sleep on epoch_, which that one thread bumps when it is back.
//
// A ring with IOPOLL takes no syncs: the thread that submits one does it itself, without a lock.
// Thread-safe.
class UringCore final : public BufferTable {
 public:
  UringCore(FixedBufferRegistry* registry, const EngineOptions& options, EngineReport origin,
            std::unique_ptr<UringRing> ring);

  // Tells of a ring that this thread cannot close.
  ~UringCore() override;

  // BufferTable. At kUringPlain the ring has no table and Set and Clear have nothing to do.
  absl::Status Set(uint16_t slot, const MemoryRegion& region) override;
  absl::Status Clear(uint16_t slot) override;
  int sharing_descriptor() const override;
  absl::Status Share(int descriptor, uint16_t first, uint32_t count) override;
  void MakeProgress(Deadline deadline) override ABSL_LOCKS_EXCLUDED(submit_mutex_, mutex_);

  absl::StatusOr<FileHandle> AddFile(std::shared_ptr<File> file);
  absl::Status RemoveFile(FileHandle file, Deadline deadline);
  absl::StatusOr<EngineLevel> LevelOf(FileHandle file) const;
  SubmitResult Submit(absl::Span<const IoRequest> requests);
  size_t Reap(absl::Span<IoCompletion> completions, Deadline deadline, size_t wanted);
  absl::StatusOr<int> CompletionDescriptor();
  uint32_t depth() const { return depth_.load(std::memory_order_relaxed); }
  uint32_t joined_depth() const { return std::min(depth(), options_.joined_depth); }
  uint32_t in_flight() const;
  EngineReport Report() const;

  // True once the kernel has nothing of ours any more.
  bool Drain(Deadline deadline);
  // Asks the kernel to give up what has not reached a device: reads of a pipe, say.
  void CancelAll();

 private:
  bool busy() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return in_kernel_ > 0 || !resume_.empty();
  }
  absl::StatusOr<bool> ProbeFile(const File& file) const;
  void Prepare(uint32_t index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(submit_mutex_, mutex_);
  void EnterPrepared() ABSL_EXCLUSIVE_LOCKS_REQUIRED(submit_mutex_);
  void FailUnsubmitted(int error_number) ABSL_EXCLUSIVE_LOCKS_REQUIRED(submit_mutex_);
  void SubmitPending();
  SubmitResult SubmitLocked(absl::Span<const IoRequest> requests)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(submit_mutex_);
  // Does the syncs that the ring would not take.
  void SyncHere() ABSL_LOCKS_EXCLUDED(submit_mutex_, mutex_);
  void WakeFollowers() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether `result` only says that the thread which submitted the operation has exited.
  bool LostWithItsThread(const Operation& operation, int result) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Books every completion that is there; true if there was one.
  bool TakeIn() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void BookCompletion(uint64_t user_data, int result) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  size_t PopReady(absl::Span<IoCompletion> completions) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  enum class Role { kWaiter, kFollower };
  // Requires to be called with what `seen` was under the lock that chose the role.
  // True if there may be something to reap that was not there before.
  bool Sleep(Role role, uint32_t seen, Deadline deadline, size_t wanted);
  Role ChooseRole() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  FixedBufferRegistry* const registry_;
  Environment* const environment_;
  const EngineOptions options_;
  const EngineReport origin_;
  const std::unique_ptr<UringRing> ring_;

  // Something waits to be submitted: resume_ is not empty, or the kernel was short of
  // memory and left entries in the queue. Whoever sleeps looks here first.
  std::atomic<bool> pending_{false};
  std::atomic<uint32_t> epoch_{0};
  // Requests that may be in flight: what the options say, or what the slowest file's device
  // takes without making io_uring_enter wait.
  std::atomic<uint32_t> depth_;

  Mutex submit_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  mutable Mutex mutex_;
  OperationPool operations_ ABSL_GUARDED_BY(mutex_);
  FileTable files_ ABSL_GUARDED_BY(mutex_);
  OperationList ready_ ABSL_GUARDED_BY(mutex_);  // concluded, to be reaped
  ReadySignal ready_signal_ ABSL_GUARDED_BY(mutex_);
  OperationList resume_ ABSL_GUARDED_BY(mutex_);  // short or interrupted, to go out again
  OperationList syncs_ ABSL_GUARDED_BY(mutex_);   // for SyncHere
  uint32_t syncing_ ABSL_GUARDED_BY(mutex_) = 0;  // of in_kernel_: for SyncHere, or in it
  uint32_t in_kernel_ ABSL_GUARDED_BY(mutex_) = 0;
  uint32_t followers_ ABSL_GUARDED_BY(mutex_) = 0;
  bool waiter_in_kernel_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelling_ ABSL_GUARDED_BY(mutex_) = false;  // we asked for ECANCELED
  EngineCounters counters_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_URING_CORE_H_
