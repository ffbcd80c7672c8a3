#ifndef FIXPOOL_STORAGE_FILE_SYNC_H_
#define FIXPOOL_STORAGE_FILE_SYNC_H_

#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/page_file_table.h"
#include "fixpool/storage/page_id.h"

namespace fixpool::storage {

// What is booked when a sync of the file begins and when it ends. One at a time (PageFile).
void BeginSync(CacheState& state, PageFile& file) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex);
void EndSync(CacheState& state, FileId file, const absl::Status& status,
             std::vector<std::string>& messages) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex);

// The file takes no more writes, because of `what`, which `why` tells of.
void Poison(CacheState& state, PageFile& file, absl::string_view what, const absl::Status& why,
            std::vector<std::string>& messages) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex);

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_FILE_SYNC_H_
