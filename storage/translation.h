#ifndef FIXPOOL_STORAGE_TRANSLATION_H_
#define FIXPOOL_STORAGE_TRANSLATION_H_

#include "fixpool/io/require_cpp20.h"

#include <cstddef>
#include <cstdint>
#include <vector>

#include "fixpool/storage/frame.h"
#include "fixpool/storage/page_id.h"

namespace fixpool::storage {

// Which frame holds a page.
//
//   translation.Insert(page, frame);
//   translation.Find(page) == frame;
//
// A hash table of chains that run through one slot for each frame: after construction
// nothing allocates, and a page can always be inserted because its frame has a slot.
// Guarded by the cache's lock.
class Translation {
 public:
  explicit Translation(uint32_t frame_count);

  // kNoFrame: in none.
  FrameIndex Find(const PageId& page) const;
  // Neither the page nor the frame is in the table yet (CHECKed).
  void Insert(const PageId& page, FrameIndex frame);
  // The page is in the table (CHECKed).
  void Erase(const PageId& page);

  size_t size() const { return size_; }

 private:
  struct Slot {
    PageId page;
    FrameIndex next = kNoFrame;
    bool used = false;
  };

  FrameIndex& BucketOf(const PageId& page);

  std::vector<Slot> slots_;          // by frame
  std::vector<FrameIndex> buckets_;  // a power of two of them, at least as many as frames
  size_t size_ = 0;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_TRANSLATION_H_
