#ifndef FIXPOOL_STORAGE_RUN_READER_H_
#define FIXPOOL_STORAGE_RUN_READER_H_

#include <cstddef>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/types/span.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/access_options.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/io_batch.h"
#include "fixpool/storage/joined_transfers.h"
#include "fixpool/storage/page_id.h"

namespace fixpool::storage {

// Starts reading adjacent pages of a file for which nobody waits, in joined transfers.
//
//   RunReader reader(state, {.file = file, .first = 10, .end = 500});
//   do {
//     { MutexLock lock(state.mutex); step = reader.Next(batch); }
//     Submit(state, batch);
//   } while (step == RunReader::Step::kMore);
//
// Pages that are in memory are passed over, and end the transfer before them. It stops where
// there are no frames or no room in the engine. Each step is a short stretch under the lock; a
// transfer is not handed over before the step that completes it, until which its pages are on
// their way for all others. The last step (any but kMore) leaves nothing behind.
// Used by one thread, once.
class RunReader {
 public:
  struct Run {
    FileId file;
    PageNumber first = 0;
    PageNumber end = 0;
    // Transfers that are left to others.
    uint32_t reserve = 0;
  };
  enum class Step : uint8_t {
    kMore,
    kDone,   // up to the end of the run, or of the file; or the file takes no reads any more
    kStuck,  // next() could not be started
  };
  // Of the pages of one step, at most.
  static constexpr size_t kPagesOfAStep = 64;
  // Pages in memory that a step passes over, at most.
  static constexpr size_t kPassedOverInAStep = 512;
  // Where nothing can be joined: transfers of a step.
  static constexpr size_t kReadsOfAStep = 16;

  RunReader(CacheState& state, const Run& run) : state_(state), run_(run), next_(run.first) {}
  RunReader(const RunReader&) = delete;
  RunReader& operator=(const RunReader&) = delete;

  // `batch` is empty.
  Step Next(IoBatch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);

  PageNumber next() const { return next_; }
  // Pages whose read was started.
  size_t started() const { return started_; }
  // Tells clang that the caller's lock is the one that Next wants.
  void AssertLocked() const ABSL_ASSERT_EXCLUSIVE_LOCK(state_.mutex) {}

 private:
  bool PassOverResidents() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  size_t MissingInARow(size_t most) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  bool Begin(PageFile& file, IoBatch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  bool Add(PageFile& file, FrameIndex frame, IoBatch& batch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  void HandOver(IoBatch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  Step End(Step step, IoBatch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);

  CacheState& state_;
  Run run_;
  PageNumber next_;
  JoinedTransfer* read_ = nullptr;  // begun, and not handed over
  size_t started_ = 0;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_RUN_READER_H_
