#include "fixpool/io/thread_pool_engine.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fixpool/io/sanitizer.h"
#include "fixpool/io/thread_pool_core.h"

namespace fixpool::io {

absl::StatusOr<std::unique_ptr<ThreadPoolEngine>> ThreadPoolEngine::Create(
    FixedBufferRegistry* registry, const EngineOptions& options, EngineReport origin) {
  auto core = std::make_shared<ThreadPoolCore>(registry, options, std::move(origin));
  std::unique_ptr<ThreadPoolEngine> engine(
      new ThreadPoolEngine(registry, options.drain_timeout, core));
  if (absl::Status attached = registry->Attach(core.get()); !attached.ok()) return attached;
  engine->attached_ = true;
  const uint32_t thread_count = std::min(options.threads, options.depth);
  engine->threads_.reserve(thread_count);
  for (uint32_t i = 0; i < thread_count; ++i) {
    absl::StatusOr<Thread> thread = Thread::Start("fixpool-io", [core] { core->RunWorker(); });
    if (!thread.ok()) return thread.status();
    engine->threads_.push_back(std::move(*thread));
  }
  return engine;
}

ThreadPoolEngine::ThreadPoolEngine(FixedBufferRegistry* registry, absl::Duration drain_timeout,
                                   std::shared_ptr<ThreadPoolCore> core)
    : registry_(registry), drain_timeout_(drain_timeout), core_(std::move(core)) {}

ThreadPoolEngine::~ThreadPoolEngine() {
  if (fork_guard_.forked()) {
    // The threads are the parent's, and one of them may hold the core's lock.
    sanitizer::LeakedOnPurpose(new std::vector<Thread>(std::move(threads_)));
    sanitizer::LeakedOnPurpose(new std::shared_ptr<ThreadPoolCore>(std::move(core_)));
    return;
  }
  Environment* const environment = registry_->environment();
  const bool drained = core_->Drain(environment->DeadlineAfter(drain_timeout_));
  core_->Stop(/*abandon=*/!drained);
  for (Thread& thread : threads_) {
    if (drained) {
      thread.Join();
    } else {
      thread.Detach();
    }
  }
  if (attached_) registry_->Abandon(core_.get());
  if (!drained) {
    environment->Report(Severity::kError,
                        absl::StrCat("a thread-pool engine died with ", core_->in_flight(),
                                     " requests in flight that the kernel would not finish; its "
                                     "threads and the memory of these requests are leaked on "
                                     "purpose"));
    // The threads return to it, whenever that is.
    sanitizer::LeakedOnPurpose(new std::shared_ptr<ThreadPoolCore>(core_));
  }
}

absl::StatusOr<FileHandle> ThreadPoolEngine::AddFile(std::shared_ptr<File> file) {
  if (fork_guard_.forked()) return fork_guard_.Refusal("AddFile");
  return core_->AddFile(std::move(file));
}
absl::Status ThreadPoolEngine::RemoveFile(FileHandle file, Deadline deadline) {
  if (fork_guard_.forked()) return fork_guard_.Refusal("RemoveFile");
  return core_->RemoveFile(file, deadline);
}
absl::StatusOr<EngineLevel> ThreadPoolEngine::LevelOf(FileHandle file) const {
  if (fork_guard_.forked()) return fork_guard_.Refusal("LevelOf");
  return core_->LevelOf(file);
}
SubmitResult ThreadPoolEngine::Submit(absl::Span<const IoRequest> requests) {
  if (fork_guard_.forked()) return {.accepted = 0, .status = fork_guard_.Refusal("Submit")};
  return core_->Submit(requests);
}
size_t ThreadPoolEngine::Reap(absl::Span<IoCompletion> completions, Deadline deadline) {
  if (fork_guard_.forked()) return 0;
  return core_->Reap(completions, deadline);
}
absl::StatusOr<int> ThreadPoolEngine::CompletionDescriptor() {
  if (fork_guard_.forked()) return fork_guard_.Refusal("CompletionDescriptor");
  return core_->CompletionDescriptor();
}
uint32_t ThreadPoolEngine::depth() const { return core_->depth(); }

uint32_t ThreadPoolEngine::joined_depth() const { return core_->joined_depth(); }
uint32_t ThreadPoolEngine::in_flight() const {
  return fork_guard_.forked() ? 0 : core_->in_flight();
}
EngineReport ThreadPoolEngine::Report() const {
  if (fork_guard_.forked()) return RefusedReport(fork_guard_.Refusal("Report"));
  return core_->Report();
}

}  // namespace fixpool::io
