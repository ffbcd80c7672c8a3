#include "fixpool/storage/file_protection.h"

#include <bit>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "fixpool/io/file.h"
#include "fixpool/storage/double_write_area.h"
#include "fixpool/storage/double_write_recovery.h"

namespace fixpool::storage {
namespace {

using Protection = TornPageProtection;

bool HasAtomicPages(const io::File& file, uint32_t page_bytes) {
  return page_bytes >= file.atomic_write_unit_min() && page_bytes <= file.atomic_write_unit_max();
}

std::string AreaPath(const PageFile& file, const FileOptions& options) {
  if (!options.double_write_path.empty()) return options.double_write_path;
  return file.file->block_device() ? "" : absl::StrCat(file.path(), ".double_write");
}

// Null: there is none, and none was to be made.
absl::StatusOr<std::shared_ptr<io::File>> OpenArea(CacheState& state, const PageFile& file,
                                                   const FileOptions& options, bool make) {
  if (options.double_write_area != nullptr) return options.double_write_area;
  const std::string path = AreaPath(file, options);
  // One that no descriptor stands for has no files beside it.
  if (path.empty() || (!make && file.file->descriptor() < 0)) return nullptr;
  auto area = io::File::Open(path, {.create = make,
                                    .read_only = !make,
                                    .direct = options.direct,
                                    .locking = options.locking,
                                    .lock_timeout = options.lock_timeout,
                                    .mode = options.mode,
                                    .environment = state.environment});
  if (!make && absl::IsNotFound(area.status())) return nullptr;
  return area;
}

absl::Status CheckArea(const CacheState& state, const PageFile& file, const io::File& area) {
  if (area.device() == file.file->device() && area.inode() == file.file->inode()) {
    return absl::InvalidArgumentError(
        absl::StrCat("OpenFile of ", file.path(), ": its double-write area is the file itself"));
  }
  const io::File::Alignment alignment = area.alignment();
  if (state.page_bytes % alignment.offset_bytes == 0 &&
      state.page_bytes % alignment.memory_bytes == 0) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "OpenFile of ", file.path(), ": direct I/O on its double-write area ", area.path(),
      " needs multiples of ", alignment.offset_bytes, " bytes, which pages are not"));
}

absl::StatusOr<std::shared_ptr<DoubleWriteArea>> MakeArea(CacheState& state, const PageFile& file,
                                                          const FileOptions& options) {
  absl::StatusOr<std::shared_ptr<io::File>> area = OpenArea(state, file, options, /*make=*/true);
  if (!area.ok()) return area.status();
  if (*area == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "OpenFile of ", file.path(), ": say FileOptions::double_write_path for a block device"));
  }
  if (absl::Status status = CheckArea(state, file, **area); !status.ok()) return status;
  return OpenDoubleWriteArea(state, file, *std::move(area), options.double_write_bytes);
}

// What there may be to be done about an area that is not going to be used: none, where there is
// none.
absl::Status LeaveArea(CacheState& state, const PageFile& file, const FileOptions& options) {
  if (file.seal == nullptr) return absl::OkStatus();  // it never had one
  const absl::StatusOr<std::shared_ptr<io::File>> area =
      OpenArea(state, file, options, /*make=*/false);
  if (!area.ok()) return area.status();
  if (*area == nullptr) return absl::OkStatus();
  if (file.file->read_only()) {
    // Who does not ask for it sees torn pages as what they are.
    if (options.torn_pages == Protection::kNone) return absl::OkStatus();
    return CheckNoPageIsTorn(state, file, *area);
  }
  absl::Status left = CheckNoCopiesAreLeft(state, file, *area);
  if (options.torn_pages != Protection::kBest || !absl::IsFailedPrecondition(left)) return left;
  const absl::StatusOr<std::shared_ptr<DoubleWriteArea>> once = MakeArea(state, file, options);
  if (!once.ok()) return once.status();
  UnprotectFile(state, **once, state.environment->DeadlineAfter(state.timeouts.flush));
  return absl::OkStatus();
}

}  // namespace

absl::Status ProtectFile(CacheState& state, PageFile& file, const FileOptions& options) {
  const bool atomic = HasAtomicPages(*file.file, state.page_bytes);
  const bool wants_atomic = options.torn_pages == Protection::kAtomic ||
                            (options.torn_pages == Protection::kBest && atomic);
  if (options.torn_pages == Protection::kAtomic && !atomic) {
    return absl::UnimplementedError(absl::StrCat(
        "OpenFile of ", file.path(), ": no atomic writes of ", state.page_bytes,
        " bytes (statx(2), STATX_WRITE_ATOMIC: ", file.file->atomic_write_unit_min(), " to ",
        file.file->atomic_write_unit_max(), "); use TornPageProtection::kDoubleWrite or kBest"));
  }
  const bool writes = !file.file->read_only();
  if (options.torn_pages == Protection::kNone || wants_atomic || !writes) {
    if (absl::Status status = LeaveArea(state, file, options); !status.ok()) return status;
    if (wants_atomic && writes) {
      file.protection = Protection::kAtomic;
      file.pages_of_a_write = 1;  // the kernel keeps a write whole, not each page of it
    }
    return absl::OkStatus();
  }
  if (file.seal == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("OpenFile of ", file.path(), ": a double-write area needs FileOptions::seal, ",
                     "since without one a torn page cannot be told from a whole one"));
  }
  absl::StatusOr<std::shared_ptr<DoubleWriteArea>> area = MakeArea(state, file, options);
  if (!area.ok()) return area.status();
  file.area = *std::move(area);
  file.protection = Protection::kDoubleWrite;
  file.pages_of_a_write = file.area->pages_each;
  return absl::OkStatus();
}

void UnprotectFile(CacheState& state, DoubleWriteArea& area, io::Deadline deadline) {
  absl::Status status = EmptyDoubleWriteArea(state, area, deadline);
  status.Update(state.engine->RemoveFile(area.handle, deadline));
  if (status.ok()) return;
  state.environment->Report(
      io::Severity::kWarning,
      absl::StrCat("the double-write area ", area.file->path(), " could not be closed as it should",
                   ", which the next to open it will notice: ", status.message()));
}

}  // namespace fixpool::storage
