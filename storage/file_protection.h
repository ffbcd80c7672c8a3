#ifndef FIXPOOL_STORAGE_FILE_PROTECTION_H_
#define FIXPOOL_STORAGE_FILE_PROTECTION_H_

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/file_options.h"
#include "fixpool/storage/page_file_table.h"

namespace fixpool::storage {

// Brings FileOptions::torn_pages into force for a file that is open and known to the engine, and
// not listed yet; which includes that pages that are torn are repaired. Blocks in I/O.
// InvalidArgument: a double-write area is asked for without a seal, or without a path where there
// is no default. Unimplemented: kAtomic, and the file has none. Errors of OpenDoubleWriteArea and
// io::File::Open.
absl::Status ProtectFile(CacheState& state, PageFile& file, const FileOptions& options)
    ABSL_LOCKS_EXCLUDED(state.mutex);

// Lets go of what ProtectFile got, when the file is closed or was not opened after all. What goes
// wrong is told to the environment's sink: it makes the next one to open the file do more.
void UnprotectFile(CacheState& state, DoubleWriteArea& area, io::Deadline deadline)
    ABSL_LOCKS_EXCLUDED(state.mutex);

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_FILE_PROTECTION_H_
