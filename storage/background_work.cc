#include "fixpool/storage/background_work.h"

#include "fixpool/storage/cache_state.h"

namespace fixpool::storage {

BackgroundWork::BackgroundWork(PageCache* cache) : keeper_(cache->hit_path_.state()) {}

bool BackgroundWork::Step() { return keeper_.Step() == FrameKeeper::Next::kAgain; }

}  // namespace fixpool::storage
