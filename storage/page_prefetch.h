#ifndef FIXPOOL_STORAGE_PAGE_PREFETCH_H_
#define FIXPOOL_STORAGE_PAGE_PREFETCH_H_

#include <cstddef>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/page_id.h"

namespace fixpool::storage {

// PageCache::Prefetch, where the contract is told.
absl::StatusOr<size_t> PrefetchPages(CacheState& state, absl::Span<const PageId> pages)
    ABSL_LOCKS_EXCLUDED(state.mutex);

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_PAGE_PREFETCH_H_
