#ifndef FIXPOOL_IO_URING_ENGINE_H_
#define FIXPOOL_IO_URING_ENGINE_H_

#include <memory>

#include "absl/status/statusor.h"
#include "fixpool/io/engine_options.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/fork_guard.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::io {

class UringCore;
struct RingExtras;

// What a ring gets: the extras that are in force by `origin`, as `options` describe them.
RingExtras ExtrasInForce(const EngineOptions& options, const EngineReport& origin);

// IoEngine on one io_uring, at the level kUringFixed or kUringPlain. OpenEngine makes it.
//
// The ring has default flags but for the extras that were asked for, so that any thread may reap
// what another submitted, and a sleeping submitter holds nobody up. One thread at a time sleeps in
// the kernel for completions; others that wait sleep until it is back. Files are registered in the
// ring's file table. In flight are at most depth() requests, so neither queue can overflow.
// Threads, ownership, errors: as IoEngine.
class UringEngine final : public IoEngine {
 public:
  // `origin` says the level (kUringFixed or kUringPlain), why it is not a better one, and which
  // extras are in force; nothing is probed here. Errors: those of setting up a ring, and of
  // FixedBufferRegistry::Attach.
  static absl::StatusOr<std::unique_ptr<UringEngine>> Create(FixedBufferRegistry* registry,
                                                             const EngineOptions& options,
                                                             EngineReport origin);
  ~UringEngine() override;

  absl::StatusOr<FileHandle> AddFile(std::shared_ptr<File> file) override;
  absl::Status RemoveFile(FileHandle file, Deadline deadline) override;
  absl::StatusOr<EngineLevel> LevelOf(FileHandle file) const override;
  SubmitResult Submit(absl::Span<const IoRequest> requests) override;
  size_t Reap(absl::Span<IoCompletion> completions, Deadline deadline) override;
  size_t ReapSeveral(absl::Span<IoCompletion> completions, Deadline deadline,
                     size_t wanted) override;
  absl::StatusOr<int> CompletionDescriptor() override;
  uint32_t depth() const override;
  uint32_t joined_depth() const override;
  uint32_t in_flight() const override;
  EngineReport Report() const override;

 private:
  UringEngine(FixedBufferRegistry* registry, absl::Duration drain_timeout,
              std::unique_ptr<UringCore> core);

  FixedBufferRegistry* const registry_;
  const absl::Duration drain_timeout_;
  const ForkGuard fork_guard_;
  // Apart, so that it can be leaked if the kernel does not let go of it.
  std::unique_ptr<UringCore> core_;
};

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_URING_ENGINE_H_
