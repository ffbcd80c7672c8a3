#ifndef FIXPOOL_STORAGE_PAGE_WRITER_H_
#define FIXPOOL_STORAGE_PAGE_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/io_batch.h"
#include "fixpool/storage/page_writes.h"
#include "fixpool/storage/retry_pause.h"

namespace fixpool::storage {

// Writes dirty pages in the background, in the order of their places in their files and adjacent
// ones together, so that there are always clean ones to evict.
//
//   PageWriter writer(&state);
//   while (writer.Step() == PageWriter::Next::kAgain) {}
//
// How fast: the number of transfers in flight follows the number of dirty pages. With as many as
// CacheState::dirty_mark there are none; with twice as many, three quarters of what the engine
// takes; in between, in proportion. So as many are written as become dirty, at the level at which
// that is so, and no clock is asked. While those who change pages are held up
// (CacheState::throttled) it is as fast as it can be.
// In rounds: one goes over the frames, a few thousand a step, and notes those that are dirty (up to
// kMostItems); then these are written as the number of transfers allows. A page that is changed
// after its turn is one of the next round.
// Pages that wait for the log have it asked, between steps, for all of them at once; this is where
// EnsureDurable is called.
// A step is short and takes the lock once or twice; it waits for nothing but the log, and for
// copies of pages in double-write areas, which nobody else then has to wait for
// (CacheState::writes_wanted). Whoever runs the steps (KeeperThread, BackgroundWork) decides when.
// One at a time. Outlived by the state.
class PageWriter {
 public:
  enum class Next : uint8_t {
    kAgain,        // there is more to do
    kWhenWritten,  // when some transfer has ended
    kWhenCalled,   // when CacheState::background_calls changes, or at retry_at()
  };
  static constexpr size_t kMostItems = 16384;

  explicit PageWriter(CacheState* state);
  PageWriter(const PageWriter&) = delete;
  PageWriter& operator=(const PageWriter&) = delete;

  Next Step();
  // When a page that could not be written, or the log, should be tried again. Infinite: nothing is
  // to be.
  io::Deadline retry_at() const { return retry_at_; }

 private:
  struct Item {
    uint32_t file_slot;
    FrameIndex frame;
    PageNumber page_number;
  };

  // How many transfers of this writer there should be, as far as the tables tell.
  uint32_t Wanted() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  bool CanWrite(FrameIndex index) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  // Goes on with the look at all frames. True: it has come to its end.
  bool Gather() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  Next EndIdleRound() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  Next WriteSome(uint32_t room, IoBatch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  bool IsThere(const Item& item) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);

  CacheState& state_;
  std::vector<Item> items_;  // of this round; sorted once it is complete
  size_t next_ = 0;          // of the items, once they are
  uint32_t cursor_ = 0;      // of the frames, before
  bool gathering_ = true;
  bool idle_round_ = false;  // nothing was written in this round so far
  // After rounds in which nothing could be.
  RetryPause idle_pause_{10'000'000, 160'000'000};
  io::Deadline retry_at_ = io::Deadline::Infinite();
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_PAGE_WRITER_H_
