#ifndef FIXPOOL_STORAGE_PAGE_ACCESS_H_
#define FIXPOOL_STORAGE_PAGE_ACCESS_H_

#include "fixpool/io/require_cpp20.h"

#include <cstdint>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/storage/access_options.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/page_hold.h"
#include "fixpool/storage/page_transfers.h"

namespace fixpool::storage {

// What an access wants of its page.
enum class Intent : uint8_t {
  kRead,   // its bytes, shared
  kWrite,  // its bytes, exclusively; made if it lies past the logical end of the file
  kMake,   // a page of zeros in its place, exclusively
};

// One call of PageCache::Read, Write or Make that HitPath could do nothing for: finds the page,
// brings it into memory if it is not there, and latches it, waiting for whatever that takes.
//
//   absl::StatusOr<PageHold> hold = PageAccess(state, page, Intent::kRead, options).Run();
//
// It looks at the tables, under the lock, as often as something has changed, until it is
// granted the latch or meets an error (Step). What it counts on meanwhile it attaches to, so
// that the frame stays and a failed read's error reaches all who waited for that read.
// Used by one thread, once.
class PageAccess {
 public:
  PageAccess(CacheState& state, const PageId& page, Intent intent, const AccessOptions& options);
  PageAccess(const PageAccess&) = delete;
  PageAccess& operator=(const PageAccess&) = delete;

  // Errors: see PageCache.
  absl::StatusOr<PageHold> Run();

 private:
  enum class Next : uint8_t {
    kGranted,  // frame_ is latched
    kFailed,   // error_
    kAgain,    // look again
    kWait,     // look again when reason_ may have gone
  };
  enum class Reason : uint8_t { kRead, kLatch, kWriteBack, kFrames, kTransfers };

  Next Step(IoBatch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  Next BringIn(const PageFile& file, IoBatch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  Next BeginRead(AtomicPageWord* word, IoBatch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  Next InstallMadePage(AtomicPageWord* word) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  Next LatchFrame() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);

  // The file, if this access is allowed on it; else error_ says why not.
  PageFile* CheckFile() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  absl::Status CheckNewPage(const PageFile& file) const;
  // Books it once, with the first counter that is asked for.
  void Count(uint64_t CacheStats::*counter) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  Next Wait(Reason reason) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  Next Fail(absl::Status error);

  void Attach() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  void EndLatchWait() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  // Lets go of all that it attached to or waits for.
  void Detach() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  absl::Status DeadlineStatus() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  // This thread, to the latch of frame_.
  PageLatch::Caller Caller() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  PageHold Grant();

  CacheState& state_;
  const PageId page_;
  const Intent intent_;
  const AccessOptions& options_;
  const PageLatch::Mode mode_;

  FrameIndex frame_ = kNoFrame;     // where the page is, if it is
  AtomicPageWord* word_ = nullptr;  // kGranted: its word
  bool attached_ = false;           // to frame_
  bool latch_wait_ = false;         // counted by the latch of frame_
  bool frame_wait_ = false;         // counted in CacheState::frame_waiters
  bool counted_ = false;
  bool waited_ = false;
  bool needs_zeros_ = false;  // granted, and the bytes are not cleared yet
  Reason reason_ = Reason::kRead;
  absl::Status error_;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_PAGE_ACCESS_H_
