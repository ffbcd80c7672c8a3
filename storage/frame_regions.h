#ifndef FIXPOOL_STORAGE_FRAME_REGIONS_H_
#define FIXPOOL_STORAGE_FRAME_REGIONS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "fixpool/arena/page_handle.h"
#include "fixpool/io/region_id.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/frame_index.h"

namespace fixpool::storage {

// Which page of which region of the arena each frame is: a handle without its generation.
//
// Shape: frames lie in memory in the order of their numbers, block after block (FrameAddresses), so
// that long runs of them are pages of one region in their order, and a few words say it of each
// run. Thread-compatible.
class FrameRegions {
 public:
  // Of the handle, all but the generation. Frames in ascending order are fastest. Allocates.
  void Set(FrameIndex frame, const arena::PageHandle& handle);
  // Requires Set for that frame.
  arena::PageHandle HandleOf(FrameIndex frame, uint32_t generation) const;

  // Behind the last frame that was ever set.
  uint32_t end() const { return end_; }
  size_t run_count() const { return runs_.size(); }
  size_t size_bytes() const { return runs_.capacity() * sizeof(Run); }

 private:
  struct Run {
    uint32_t first;   // frame; to the next run's first one, or to the end
    uint32_t offset;  // from the frame's number to the page's, modulo 2^32
    io::RegionId region;

    bool ContinuesAs(const Run& other) const {
      return offset == other.offset && region == other.region;
    }
  };

  // How many runs begin at the frame or before.
  size_t CountUpTo(uint32_t frame) const;

  std::vector<Run> runs_;  // ascending
  uint32_t end_ = 0;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_FRAME_REGIONS_H_
