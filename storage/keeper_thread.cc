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
  state->has_keeper_thread.store(true);
  return keeper;
}

KeeperThread::~KeeperThread() {
  if (thread_ == nullptr) return;
  stop_.store(true);
  state_.background_calls.fetch_add(1);
  state_.environment->Wake(state_.background_calls);
  state_.reaper.Signal();  // it may wait there
  thread_->Join();
  state_.has_keeper_thread.store(false);
}

void KeeperThread::Run() {
  while (true) {
    const uint32_t seen = state_.reaper.epoch();
    const FrameKeeper::Next frames = keeper_.Step();
    const PageWriter::Next pages = writer_.Step();
    // Not before the steps: a call that they have taken note of may have been the last.
    if (stop_.load()) return;
    if (frames == FrameKeeper::Next::kAgain || pages == PageWriter::Next::kAgain) continue;
    if (frames == FrameKeeper::Next::kWhenWritten || pages == PageWriter::Next::kWhenWritten) {
      SubmitCollected(state_);
      state_.reaper.WaitFor(seen, CompletionReaper::Wanted::kEither, writer_.retry_at());
    } else {
      state_.environment->Wait(state_.background_calls, keeper_.calls(), writer_.retry_at());
    }
  }
}

}  // namespace fixpool::storage
