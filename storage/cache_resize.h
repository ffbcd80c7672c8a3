#ifndef FIXPOOL_STORAGE_CACHE_RESIZE_H_
#define FIXPOOL_STORAGE_CACHE_RESIZE_H_

#include <cstddef>

#include "absl/status/status.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/cache_state.h"

namespace fixpool::storage {

// What PageCache::Resize does, with its errors but for those of a forked child and of another one
// at the same time, which is up to the caller.
absl::Status ResizeCache(CacheState& state, size_t memory_bytes, io::Deadline deadline);

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_CACHE_RESIZE_H_
