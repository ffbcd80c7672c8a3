#ifndef FIXPOOL_STORAGE_BACKGROUND_WORK_H_
#define FIXPOOL_STORAGE_BACKGROUND_WORK_H_

#include <cstdint>

#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/frame_keeper.h"
#include "fixpool/storage/page_cache.h"
#include "fixpool/storage/page_writer.h"

namespace fixpool::storage {

// What a cache does that nobody has asked it for, in steps, for who runs them instead of the
// cache's own thread: PageCache::PartsOptions::background_thread = false.
//
//   BackgroundWork background(cache.get());
//   while (background.Step()) {}            // now and then; a simulator decides when
//
// One at a time for each cache, which outlives it. Thread-compatible. Not in a forked child.
class BackgroundWork {
 public:
  explicit BackgroundWork(PageCache* cache);
  BackgroundWork(const BackgroundWork&) = delete;
  BackgroundWork& operator=(const BackgroundWork&) = delete;

  // One short step, which waits for nothing but the caller's log and, where files have double-write
  // areas, for copies of pages to be on disk. False: there is nothing more to
  // do for the time being.
  bool Step();

 private:
  FrameKeeper keeper_;
  PageWriter writer_;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_BACKGROUND_WORK_H_
