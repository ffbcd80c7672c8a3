#ifndef FIXPOOL_ARENA_PAGE_OWNER_H_
#define FIXPOOL_ARENA_PAGE_OWNER_H_

#include "fixpool/io/environment.h"
#include "fixpool/io/region_id.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::arena {

// Someone who holds pages of a PageArena for long, such as a cache, and whom PageArena::Shrink
// asks to give them up.
//
//   class MyCache : public PageOwner {
//     void GiveUpPages(io::RegionId region, io::Deadline deadline) override {
//       for (Frame& frame : frames_in(region)) if (frame.TryEvict()) arena_->Free(frame.page);
//     }
//   };
//   arena->AddOwner(&cache);
//
// Threads: called on the thread that is inside Shrink, with no lock held that Allocate or Free
// takes, several times for one region until it is empty.
class PageOwner {
 public:
  virtual ~PageOwner() = default;

  // Frees those pages of `region` that can be done without, now or within a short wait that ends
  // before `deadline`. Pages in use are left alone; the next call asks again. May call anything
  // of the arena's but AddOwner, RemoveOwner, Grow and Shrink. A page that is allocated in here
  // is never one of this region's.
  virtual void GiveUpPages(io::RegionId region, io::Deadline deadline) = 0;
};

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_PAGE_OWNER_H_
