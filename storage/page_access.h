#ifndef FIXPOOL_STORAGE_PAGE_ACCESS_H_
#define FIXPOOL_STORAGE_PAGE_ACCESS_H_

#include <cstddef>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/access_options.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/io_batch.h"
#include "fixpool/storage/page_hold.h"
#include "fixpool/storage/page_transfers.h"
#include "fixpool/storage/read_ahead.h"

namespace fixpool::storage {

// What an access wants of its page.
enum class Intent : uint8_t {
  kRead,   // its bytes, shared
  kWrite,  // its bytes, exclusively; made if it lies past the logical end of the file
  kMake,   // a page of zeros in its place, exclusively
};

// One access to a page that HitPath could do nothing for: finds the page, brings it into memory
// if it is not there, and latches it.
//
//   PageAccess access(state, page, Intent::kRead, PageAccess::Caller::kThread, options);
//   while (access.Look(batch) == PageAccess::Next::kWait) ...wait for access.reason()...;
//
// It looks at the tables, under the lock, as often as something has changed, until it is
// granted the latch or meets an error. What it counts on meanwhile it attaches to, so
// that the frame stays and a failed read's error reaches all who waited for that read.
// How one waits is up to the caller: see blocking_access.h and async_access.h.
// Used by one thread, once. After Look has answered kWait the owner looks again or gives up.
class PageAccess {
 public:
  enum class Next : uint8_t {
    kGranted,  // TakeHold() without the lock
    kFailed,   // error()
    kWait,     // look again when reason() may have gone
  };
  enum class Reason : uint8_t { kRead, kLatch, kWriteBack, kFrames, kTransfers, kDirtying };
  enum class Caller : uint8_t {
    kThread,  // sleeps: what this thread holds nobody will let go of meanwhile
    kTask,    // gives way to other tasks of its thread, which may hold what it waits for
  };
  // What one Look starts, at most.
  static constexpr size_t kTransfersOfALook = 17;

  PageAccess(CacheState& state, const PageId& page, Intent intent, Caller caller,
             const AccessOptions& options);
  PageAccess(const PageAccess&) = delete;
  PageAccess& operator=(const PageAccess&) = delete;

  // What it starts goes to `batch`, for the caller to submit; what is to be read ahead besides, to
  // `plan`, for the caller to carry out after that.
  Next Look(IoBatch& batch, ReadAheadPlan& plan) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  Reason reason() const { return reason_; }
  // The frame that it waits for; kNoFrame: reason() is about none.
  FrameIndex frame() const { return attached_ ? frame_ : kNoFrame; }
  // Lets go of all that it attached to or waits for.
  void Detach() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  // The same, when its deadline has passed, and the status to tell.
  absl::Status GiveUp() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);

  const absl::Status& error() const { return error_; }
  PageHold TakeHold();

  // Tells clang that the caller's lock is the one that the methods above want.
  void AssertLocked() const ABSL_ASSERT_EXCLUSIVE_LOCK(state_.mutex) {}

 private:
  enum class Outcome : uint8_t { kGranted, kFailed, kWait, kAgain };

  Outcome Step(IoBatch& batch, ReadAheadPlan& plan) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  Outcome BringIn(const PageFile& file, IoBatch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  void NoteForScans(PageFile& file, ReadAheadPlan& plan)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  Outcome BeginRead(AtomicPageWord* word, IoBatch& batch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  Outcome InstallMadePage(AtomicPageWord* word) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  Outcome AwaitRead() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  Outcome LatchFrame() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  PageLatch::Answer TryLatch() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  // Whether it would change a page that is clean, or make one, when that is not to be.
  bool IsThrottled() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);

  // The file, if this access is allowed on it; else error_ says why not.
  PageFile* CheckFile() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  absl::Status CheckNewPage(const PageFile& file) const;
  // Books it once, with the first counter that is asked for.
  void Count(uint64_t CacheStats::*counter) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  Outcome Wait(Reason reason) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  Outcome Fail(absl::Status error);

  void Attach() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  void EndLatchWait() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  absl::Status DeadlineStatus() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  // Who asks, to the latch of the page with that word. Takes some hundred ns.
  PageLatch::Caller LatchCaller(const AtomicPageWord* word) const;

  CacheState& state_;
  const PageId page_;
  const Intent intent_;
  const Caller caller_;
  const Hint hint_;
  const PageLatch::Mode mode_;
  const Lsn next_lsn_;  // if it makes the page: from when it was not made yet

  FrameIndex frame_ = kNoFrame;     // where the page is, if it is
  AtomicPageWord* word_ = nullptr;  // kGranted: its word
  bool attached_ = false;           // to frame_
  bool latch_wait_ = false;         // counted by the latch of frame_
  bool frame_wait_ = false;         // counted in CacheState::frame_waiters
  bool noted_ = false;              // by NoteForScans
  bool counted_ = false;
  bool waited_ = false;
  bool needs_zeros_ = false;  // granted, and the bytes are not cleared yet
  Reason reason_ = Reason::kRead;
  absl::Status error_;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_PAGE_ACCESS_H_
