#ifndef FIXPOOL_STORAGE_TRY_ACCESS_H_
#define FIXPOOL_STORAGE_TRY_ACCESS_H_

#include "fixpool/io/require_cpp20.h"

#include <optional>

#include "fixpool/storage/access_options.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/page_hold.h"
#include "fixpool/storage/page_id.h"
#include "fixpool/storage/page_latch.h"

namespace fixpool::storage {

// What PageCache::TryRead and TryWrite do when HitPath could not: the latch of the page, if it is
// in memory and can be had at this moment. One look under the cache's lock; never waits for
// anything else, starts no transfer, and makes nobody wait. Not in a forked child. Thread-safe.
std::optional<PageHold> TryAccessPage(CacheState& state, const PageId& page, PageLatch::Mode mode,
                                      Hint hint);

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_TRY_ACCESS_H_
