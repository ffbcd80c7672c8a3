#ifndef FIXPOOL_IO_THREAD_POOL_ENGINE_H_
#define FIXPOOL_IO_THREAD_POOL_ENGINE_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "fixpool/io/engine_options.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/fork_guard.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/io/thread.h"

namespace fixpool::io {

class ThreadPoolCore;

// IoEngine on pread(2), pwrite(2) and fdatasync(2), for where io_uring is forbidden:
// containers with a seccomp filter, gVisor, RLIMIT_MEMLOCK 0. OpenEngine makes it.
//
// Its threads block all signals and sleep when idle. Regions are validated and leased as
// with the other engines, though the kernel has no table of them.
// Threads, ownership, errors: as IoEngine.
class ThreadPoolEngine final : public IoEngine {
 public:
  // `origin` says why there is no better level. ResourceExhausted: a thread could not be started.
  static absl::StatusOr<std::unique_ptr<ThreadPoolEngine>> Create(FixedBufferRegistry* registry,
                                                                  const EngineOptions& options,
                                                                  EngineReport origin);
  ~ThreadPoolEngine() override;

  absl::StatusOr<FileHandle> AddFile(std::shared_ptr<File> file) override;
  absl::Status RemoveFile(FileHandle file, Deadline deadline) override;
  absl::StatusOr<EngineLevel> LevelOf(FileHandle file) const override;
  SubmitResult Submit(absl::Span<const IoRequest> requests) override;
  size_t Reap(absl::Span<IoCompletion> completions, Deadline deadline) override;
  absl::StatusOr<int> CompletionDescriptor() override;
  uint32_t depth() const override;
  uint32_t joined_depth() const override;
  uint32_t in_flight() const override;
  EngineReport Report() const override;

 private:
  ThreadPoolEngine(FixedBufferRegistry* registry, absl::Duration drain_timeout,
                   std::shared_ptr<ThreadPoolCore> core);

  FixedBufferRegistry* const registry_;
  const absl::Duration drain_timeout_;
  const ForkGuard fork_guard_;
  bool attached_ = false;
  std::vector<Thread> threads_;
  // Shared with the threads: one that the kernel does not let go of keeps it alive.
  std::shared_ptr<ThreadPoolCore> core_;
};

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_THREAD_POOL_ENGINE_H_
