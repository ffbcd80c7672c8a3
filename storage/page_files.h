#ifndef FIXPOOL_STORAGE_PAGE_FILES_H_
#define FIXPOOL_STORAGE_PAGE_FILES_H_

#include "fixpool/io/require_cpp20.h"

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/file.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/file_options.h"
#include "fixpool/storage/page_id.h"

namespace fixpool::storage {

// Opening and closing files of pages: PageCache::OpenFile and CloseFile, where the errors
// are told. Both block in system calls, without the lock.
absl::StatusOr<FileId> OpenPageFile(CacheState& state, const std::string& path,
                                    const FileOptions& options) ABSL_LOCKS_EXCLUDED(state.mutex);
absl::StatusOr<FileId> OpenPageFile(CacheState& state, std::shared_ptr<io::File> file,
                                    const FileOptions& options) ABSL_LOCKS_EXCLUDED(state.mutex);
absl::Status ClosePageFile(CacheState& state, FileId file, const CloseOptions& options)
    ABSL_LOCKS_EXCLUDED(state.mutex);

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_PAGE_FILES_H_
