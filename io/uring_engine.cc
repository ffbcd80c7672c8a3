#include "fixpool/io/uring_engine.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "fixpool/io/sanitizer.h"
#include "fixpool/io/uring_core.h"
#include "fixpool/io/uring_ring.h"

namespace fixpool::io {

RingExtras ExtrasInForce(const EngineOptions& options, const EngineReport& origin) {
  return {.sqpoll = origin.sqpoll.in_force,
          .sqpoll_idle_ms = static_cast<uint32_t>(absl::ToInt64Milliseconds(options.sqpoll_idle)),
          .iopoll = origin.iopoll.in_force,
          .registered_ring = origin.registered_ring.in_force};
}

absl::StatusOr<std::unique_ptr<UringEngine>> UringEngine::Create(FixedBufferRegistry* registry,
                                                                 const EngineOptions& options,
                                                                 EngineReport origin) {
  const bool fixed = origin.level == EngineLevel::kUringFixed;
  absl::StatusOr<std::unique_ptr<UringRing>> ring =
      UringRing::Create({.entries = options.depth,
                         .buffer_slots = fixed ? registry->capacity() : 0,
                         .file_slots = options.max_files,
                         .extras = ExtrasInForce(options, origin)});
  if (!ring.ok()) return ring.status();
  auto core = std::make_unique<UringCore>(registry, options, std::move(origin), std::move(*ring));
  if (absl::Status attached = registry->Attach(core.get()); !attached.ok()) return attached;
  return std::unique_ptr<UringEngine>(
      new UringEngine(registry, options.drain_timeout, std::move(core)));
}

UringEngine::UringEngine(FixedBufferRegistry* registry, absl::Duration drain_timeout,
                         std::unique_ptr<UringCore> core)
    : registry_(registry), drain_timeout_(drain_timeout), core_(std::move(core)) {}

UringEngine::~UringEngine() {
  if (fork_guard_.forked()) {
    sanitizer::LeakedOnPurpose(core_.release());  // it holds the parent's ring
    return;
  }
  Environment* const environment = registry_->environment();
  // What can finish gets half of the time to do so; what is left is then cancelled, which
  // ends whatever waits for something other than a disk.
  const absl::Duration half = drain_timeout_ / 2;
  bool drained = core_->Drain(environment->DeadlineAfter(half));
  if (!drained) {
    core_->CancelAll();
    drained = core_->Drain(environment->DeadlineAfter(half));
  }
  if (!drained) {
    registry_->Abandon(core_.get());
    environment->Report(
        Severity::kError,
        absl::StrCat("an io_uring engine died with ", core_->in_flight(),
                     " requests in flight that the kernel would not finish; the "
                     "ring and the memory of these requests are leaked on purpose"));
    sanitizer::LeakedOnPurpose(core_.release());
    return;
  }
  if (absl::Status status = registry_->Detach(core_.get()); !status.ok()) {
    environment->Report(Severity::kError,
                        absl::StrCat("closing an io_uring engine: ", status.message()));
  }
}

absl::StatusOr<FileHandle> UringEngine::AddFile(std::shared_ptr<File> file) {
  if (fork_guard_.forked()) return fork_guard_.Refusal("AddFile");
  return core_->AddFile(std::move(file));
}
absl::Status UringEngine::RemoveFile(FileHandle file, Deadline deadline) {
  if (fork_guard_.forked()) return fork_guard_.Refusal("RemoveFile");
  return core_->RemoveFile(file, deadline);
}
absl::StatusOr<EngineLevel> UringEngine::LevelOf(FileHandle file) const {
  if (fork_guard_.forked()) return fork_guard_.Refusal("LevelOf");
  return core_->LevelOf(file);
}
SubmitResult UringEngine::Submit(absl::Span<const IoRequest> requests) {
  if (fork_guard_.forked()) return {.accepted = 0, .status = fork_guard_.Refusal("Submit")};
  return core_->Submit(requests);
}
size_t UringEngine::Reap(absl::Span<IoCompletion> completions, Deadline deadline) {
  return ReapSeveral(completions, deadline, 1);
}
size_t UringEngine::ReapSeveral(absl::Span<IoCompletion> completions, Deadline deadline,
                                size_t wanted) {
  if (fork_guard_.forked()) return 0;
  return core_->Reap(completions, deadline, wanted);
}
absl::StatusOr<int> UringEngine::CompletionDescriptor() {
  if (fork_guard_.forked()) return fork_guard_.Refusal("CompletionDescriptor");
  return core_->CompletionDescriptor();
}
uint32_t UringEngine::depth() const { return core_->depth(); }

uint32_t UringEngine::joined_depth() const { return core_->joined_depth(); }
uint32_t UringEngine::in_flight() const { return fork_guard_.forked() ? 0 : core_->in_flight(); }
EngineReport UringEngine::Report() const {
  if (fork_guard_.forked()) return RefusedReport(fork_guard_.Refusal("Report"));
  return core_->Report();
}

}  // namespace fixpool::io
