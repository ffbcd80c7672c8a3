#ifndef FIXPOOL_STORAGE_BLOCKING_ACCESS_H_
#define FIXPOOL_STORAGE_BLOCKING_ACCESS_H_

#include "fixpool/io/require_cpp20.h"

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "fixpool/storage/access_options.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/page_access.h"
#include "fixpool/storage/page_hold.h"
#include "fixpool/storage/page_id.h"

namespace fixpool::storage {

// One call of PageCache::Read, Write or Make that HitPath could do nothing for: a PageAccess for
// which this thread sleeps, or takes completions in, until it is granted or fails. Errors: see
// PageCache.
absl::StatusOr<PageHold> AccessPage(CacheState& state, const PageId& page, Intent intent,
                                    const AccessOptions& options)
    ABSL_LOCKS_EXCLUDED(state.mutex);

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_BLOCKING_ACCESS_H_
