#include "fixpool/storage/keeper_thread.h"

#include <utility>

#include "fixpool/storage/completion_reaper.h"
#include "fixpool/storage/page_transfers.h"

namespace fixpool::storage {

absl::StatusOr<std::unique_ptr<KeeperThread>> KeeperThread::Start(CacheState* state) {
  std::unique_ptr<KeeperThread> keeper(new KeeperThread(state));
  KeeperThread* const running = keeper.get();
  absl::StatusOr<io::Thread> thread =
      io::Thread::Start("fixpool-frames", [running] { running->Run(); });
  if (!thread.ok()) return thread.status();
  keeper->thread_ = std::make_unique<io::Thread>(*std::move(thread));
  return keeper;
}

KeeperThread::~KeeperThread() {
  if (thread_ == nullptr) return;
  stop_.store(true);
  state_.keeper_calls.fetch_add(1);
  state_.environment->Wake(state_.keeper_calls);
  state_.reaper.Signal();  // it may wait there
  thread_->Join();
}

void KeeperThread::Run() {
  while (true) {
    const uint32_t seen = state_.reaper.epoch();
    const FrameKeeper::Next next = keeper_.Step();
    // Not before the step: a call that it has taken note of may have been the last.
    if (stop_.load()) return;
    switch (next) {
      case FrameKeeper::Next::kAgain:
        break;
      case FrameKeeper::Next::kWhenWritten:
        SubmitCollected(state_);
        state_.reaper.WaitFor(seen, CompletionReaper::Wanted::kEither, io::Deadline::Infinite());
        break;
      case FrameKeeper::Next::kWhenCalled:
        state_.environment->Wait(state_.keeper_calls, keeper_.calls(), io::Deadline::Infinite());
        break;
    }
  }
}

}  // namespace fixpool::storage
