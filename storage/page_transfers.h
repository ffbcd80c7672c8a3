#ifndef FIXPOOL_STORAGE_PAGE_TRANSFERS_H_
#define FIXPOOL_STORAGE_PAGE_TRANSFERS_H_

#include <cstddef>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/io_batch.h"
#include "fixpool/storage/transfer.h"

namespace fixpool::storage {

// The Start functions need CanStart; those of writes are in page_writes.h. An error is that of
// arena::PageArena::Check: the frame's handle is not valid, nothing was started, and nothing has
// changed.
//
// The frame is kLoading, and its page named.
absl::Status StartRead(CacheState& state, FrameIndex index, IoBatch& batch)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex);
// A joined read of pages from `first` on, which counts as a transfer from now on. Null: none is to
// be had. Nobody else touches it before it is started.
JoinedTransfer* TakeJoinedRead(CacheState& state, PageFile& file, PageNumber first)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex);
// Its next page, which the frame, that is kLoading, has been named for. There is room
// (JoinedTransfers::pages_each).
absl::Status AddToJoinedRead(CacheState& state, JoinedTransfer& read, FrameIndex index)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex);
// If there are no pages in it, it ends here.
void StartJoinedRead(CacheState& state, JoinedTransfer& read, IoBatch& batch)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex);
// Whether `error`, of a frame whose read failed, is that of a joined read: it says nothing about
// this page, and who waits for it reads it alone.
bool IsOfJoinedRead(const absl::Status& error);
// No sync of the file is in flight.
void StartSync(CacheState& state, PageFile& file, IoBatch& batch)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex);

// Gives the batch to the engine, all of it, and leaves it empty. Waits for copies of pages to be on
// disk where a file has a double-write area (write_protection.h), and else only if the engine takes
// less than depth() says it can; what it does not take within the access timeout, or refuses, ends
// like a transfer that failed.
void Submit(CacheState& state, IoBatch& batch) ABSL_LOCKS_EXCLUDED(state.mutex);

// Gives what tasks have started to the engine. To be called before any wait, since the thread of
// those tasks may not come back.
void SubmitCollected(CacheState& state) ABSL_LOCKS_EXCLUDED(state.mutex);

// Books what became of transfers, and tells the environment's sink of pages that cannot be
// written and of files that cannot be synced. Wakes tasks, and does
// not call CompletionReaper::Signal.
void EndTransfers(CacheState& state, absl::Span<const io::IoCompletion> completions)
    ABSL_LOCKS_EXCLUDED(state.mutex);

// EndTransfers for a CompletionReaper. `state` need not be constructed yet.
class TransferEnds final : public CompletionHandler {
 public:
  explicit TransferEnds(CacheState& state) : state_(state) {}
  void OnCompletions(absl::Span<io::IoCompletion> completions) override {
    EndTransfers(state_, completions);
  }

 private:
  CacheState& state_;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_PAGE_TRANSFERS_H_
