#include "fixpool/storage/background_work.h"

#include "fixpool/storage/cache_state.h"

namespace fixpool::storage {

BackgroundWork::BackgroundWork(PageCache* cache)
    : keeper_(cache->hit_path_.state()), writer_(cache->hit_path_.state()) {}

bool BackgroundWork::Step() {
  const FrameKeeper::Next frames = keeper_.Step();
  const PageWriter::Next pages = writer_.Step();
  return frames == FrameKeeper::Next::kAgain || pages == PageWriter::Next::kAgain;
}

}  // namespace fixpool::storage
