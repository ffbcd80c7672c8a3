#ifndef FIXPOOL_STORAGE_DOUBLE_WRITE_RECOVERY_H_
#define FIXPOOL_STORAGE_DOUBLE_WRITE_RECOVERY_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/file.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/double_write_area.h"
#include "fixpool/storage/page_file_table.h"

namespace fixpool::storage {

// Double-write areas when their files are opened and closed. `file` is sealed, and known to the
// engine, but not listed yet: nobody else uses it. All of them do I/O, through the engine, and wait
// for it without the lock.

// Makes `area_file`, if it is empty, the area of `file`, for `capacity_bytes` of copies. If it is
// one, pages of the file that are torn are written anew from their copies and synced, and then what
// is in the area counts no more; so a crash meanwhile only has it done again. The area is known to
// the engine afterwards.
// FailedPrecondition: it is another file's, of other pages, or of another version. DataLoss: it is
// not an area, or a damaged one. Any other: a transfer failed.
absl::StatusOr<std::shared_ptr<DoubleWriteArea>> OpenDoubleWriteArea(
    CacheState& state, const PageFile& file, std::shared_ptr<io::File> area_file,
    uint64_t capacity_bytes) ABSL_LOCKS_EXCLUDED(state.mutex);

// For a file that will not be written: FailedPrecondition if a page of it is torn that has a copy
// in `area_file`. Errors also as above.
absl::Status CheckNoPageIsTorn(CacheState& state, const PageFile& file,
                               std::shared_ptr<io::File> area_file)
    ABSL_LOCKS_EXCLUDED(state.mutex);

// For a file that is going to be written without its area: FailedPrecondition if there are copies
// in it that may be needed.
absl::Status CheckNoCopiesAreLeft(CacheState& state, const PageFile& file,
                                  std::shared_ptr<io::File> area_file)
    ABSL_LOCKS_EXCLUDED(state.mutex);

// If no copies in the area are needed, has this written there, so that the next to open the file
// has nothing to do. The file is being closed; nothing is in flight.
absl::Status EmptyDoubleWriteArea(CacheState& state, DoubleWriteArea& area, io::Deadline deadline)
    ABSL_LOCKS_EXCLUDED(state.mutex);

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_DOUBLE_WRITE_RECOVERY_H_
