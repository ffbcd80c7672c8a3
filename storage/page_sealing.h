#ifndef FIXPOOL_STORAGE_PAGE_SEALING_H_
#define FIXPOOL_STORAGE_PAGE_SEALING_H_

#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/frame_index.h"

namespace fixpool::storage {

// Seals of pages that are on their way to the disk or from there. Both take the lock for as long
// as it takes to look up the pages' names, and do what takes time without it. Pages of files
// that have no seal are passed over.

// The pages in these frames are in write-back, and not with the engine yet: so no writer changes
// them, readers see no more than the payload, and the trailer is the caller's.
void SealPages(CacheState& state, absl::Span<const FrameIndex> frames)
    ABSL_LOCKS_EXCLUDED(state.mutex);

// Pages that were read and are not what was sealed. Nearly always none, and then as cheap as that.
class BadPages {
 public:
  void Add(FrameIndex frame, absl::Status status) { pages_.push_back({frame, std::move(status)}); }
  // OK: it is none of them.
  absl::Status StatusOf(FrameIndex frame) const;

 private:
  struct Page {
    FrameIndex frame;
    absl::Status status;
  };
  std::vector<Page> pages_;
};

// The pages in these frames, which are kLoading, have been read, nobody has seen them yet, and the
// caller has the completion. Those that are as they were sealed get their LSN from there; the
// others come to `bad`, are counted, and the environment's sink is told.
void VerifyPages(CacheState& state, absl::Span<const FrameIndex> frames, BadPages& bad)
    ABSL_LOCKS_EXCLUDED(state.mutex);

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_PAGE_SEALING_H_
