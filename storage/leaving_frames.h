#ifndef FIXPOOL_STORAGE_LEAVING_FRAMES_H_
#define FIXPOOL_STORAGE_LEAVING_FRAMES_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "fixpool/arena/page_handle.h"
#include "fixpool/arena/page_owner.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/region_id.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/io_batch.h"

namespace fixpool::storage {

// Empties those of a cache's frames whose regions an arena wants to give back.
//
//   LeavingFrames leaving(&state);
//   arena->AddOwner(&leaving);
//   arena->Shrink(bytes, deadline);                   // asks, until the regions are empty
//   arena->RemoveOwner(&leaving);
//   leaving.LetStay();                                // those that are still there
//
// The first time that it is asked for a region it only sees to it that no page comes into its
// frames any more, so that pages which move do not go to a region that is to go, too. From then on
// it lets the replacement policy evict pages, wherever they are, until those that are left fit into
// the frames that stay, and moves those that are in the wrong place: so the pages that the policy
// values most stay in memory, changed ones among them. A changed page is written where the policy
// wants it to go. Pages that are held, waited for or in flight are left alone, and met again the
// next time.
//
// Threads: used by one, which holds no lock; others use the cache meanwhile. Outlived by the state.
class LeavingFrames final : public arena::PageOwner {
 public:
  // Looks up which frame is in which region.
  explicit LeavingFrames(CacheState* state);
  LeavingFrames(const LeavingFrames&) = delete;
  LeavingFrames& operator=(const LeavingFrames&) = delete;

  size_t region_count() const { return regions_.size(); }
  // Frames in the region that has the fewest.
  size_t fewest_frames() const;

  void GiveUpPages(io::RegionId region, io::Deadline deadline) override;
  void LetStay();

 private:
  struct Region {
    io::RegionId id;
    std::vector<FrameIndex> frames;  // those that have not gone
    bool leaving = false;
  };
  enum class Look : uint8_t {
    kEmpty,    // it can go
    kInUse,    // somebody has to do with its page
    kNoFrame,  // there is no place for its page, nor can it or another be evicted at the moment
  };

  // Null: no frame is in it.
  Region* Find(io::RegionId id);
  void Begin(Region& region);
  void Empty(Region& region, io::Deadline deadline);
  // One turn of the lock. Evicts, while there are more pages than frames that stay; then looks at
  // frames from `next` on, and collects those that cannot go yet from `kept` on. False: there is
  // nothing more to be done now.
  bool EmptySome(Region& region, size_t& next, size_t& kept);
  // True: some, and there may be more to evict.
  bool EvictSome(IoBatch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  size_t PagesTooMany() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  Look LookAt(FrameIndex index, IoBatch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  // Within a Capture.
  bool CanMove(FrameIndex index) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  // False: somebody has come for the page. `to` was taken and is free.
  bool TryMove(FrameIndex from, FrameIndex to) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);

  CacheState& state_;
  const size_t moves_of_a_turn_;
  std::vector<Region> regions_;
  bool all_are_known_ = false;  // asked for every region once
  bool can_evict_ = true;       // as far as this call of GiveUpPages has found
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_LEAVING_FRAMES_H_
