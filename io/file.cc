#include "fixpool/io/file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fixpool/io/directory.h"
#include "fixpool/io/error.h"

namespace fixpool::io {
namespace {

// Where the kernel does not say (before 6.1): the page size suits every common device.
constexpr uint32_t kUnknownAlignment = 4096;

// Debian 12 has no names for these (linux/stat.h, Linux 6.1 and 6.11).
constexpr unsigned kStatxDioAlign = 0x00002000U;     // STATX_DIOALIGN
constexpr unsigned kStatxWriteAtomic = 0x00010000U;  // STATX_WRITE_ATOMIC
struct NewStatx {
  uint32_t mask;
  uint32_t unused[37];  // up to 152 bytes: everything before stx_dio_mem_align
  uint32_t dio_mem_align;
  uint32_t dio_offset_align;
  uint64_t subvolume;
  uint32_t atomic_write_unit_min;
  uint32_t atomic_write_unit_max;
  uint32_t atomic_write_segments_max;
  uint32_t reserved[19];
};
static_assert(sizeof(NewStatx) == 256, "the kernel's struct statx");

// Between two looks at a lock: much less than the kernel takes to end a dead process's ring.
constexpr absl::Duration kLockPollInterval = absl::Milliseconds(2);

int OpenRetrying(const std::string& path, int flags, mode_t mode) {
  int descriptor;
  do {
    descriptor = open(path.c_str(), flags, mode);
  } while (descriptor < 0 && errno == EINTR);
  return descriptor;
}

struct Opened {
  int descriptor;  // or negative, and errno says why
  bool direct;
};

// Sleeps until another's lock may have gone; false: it is too late for that.
bool WaitForOther(Environment& environment, Deadline deadline) {
  if (environment.Expired(deadline)) return false;
  const std::atomic<uint32_t> nobody_wakes{0};
  environment.Wait(nobody_wakes, 0,
                   std::min(deadline, environment.DeadlineAfter(kLockPollInterval)));
  return true;
}

absl::Status TakenStatus(const std::string& path, absl::Duration timeout,
                         absl::string_view by_whom) {
  return absl::FailedPreconditionError(absl::StrCat(
      "File::Open of ", path, ": it is ", by_whom, ", and still was after ",
      absl::FormatDuration(timeout), "; close it there, open it read-only, or say "
      "Locking::kCaller if you lock by other means"));
}

// `may_make`: options.create, and nothing was there a moment ago. `claim`: it was a block device
// that nobody else is to write; EBUSY if somebody has it, by whatever node, or has it mounted.
Opened OpenOrMake(const std::string& path, const File::OpenOptions& options, bool may_make,
                  bool claim) {
  const int common = O_CLOEXEC | O_NOCTTY | (options.read_only ? O_RDONLY : O_RDWR);
  Opened opened{.descriptor = -1, .direct = options.direct != File::DirectIo::kNever};
  if (may_make) {
    // O_EXCL: what is removed below is nobody else's.
    const int make = common | O_CREAT | O_EXCL;
    opened.descriptor = OpenRetrying(path, opened.direct ? make | O_DIRECT : make, options.mode);
    if (opened.descriptor >= 0) return opened;
    if (errno == EINVAL && opened.direct) {
      // Some file systems make the name before they see that they cannot do direct I/O.
      unlink(path.c_str());
      if (options.direct == File::DirectIo::kRequire) {
        errno = EINVAL;
        return opened;
      }
      opened.direct = false;
      opened.descriptor = OpenRetrying(path, make, options.mode);
    }
    if (opened.descriptor >= 0 || errno != EEXIST) return opened;
    opened = {.descriptor = -1, .direct = options.direct != File::DirectIo::kNever};
  }
  // O_CREAT still: it may be a symbolic link to what is not there.
  const int there = claim ? common | O_EXCL : options.create ? common | O_CREAT : common;
  opened.descriptor = OpenRetrying(path, opened.direct ? there | O_DIRECT : there, options.mode);
  if (opened.descriptor < 0 && errno == EINVAL && options.direct == File::DirectIo::kPrefer) {
    opened.direct = false;
    opened.descriptor = OpenRetrying(path, there, options.mode);
  }
  return opened;
}

// A new name is on disk once its directory is; where the name is a symbolic link, that of what it
// leads to.
absl::Status SyncNewName(const std::string& path) {
  struct stat name;
  // As it was given: who may make a file in a directory need not be able to find out its whole path.
  if (lstat(path.c_str(), &name) == 0 && !S_ISLNK(name.st_mode)) return SyncDirectoryOf(path);
  char* const target = realpath(path.c_str(), nullptr);
  if (target == nullptr) return ErrnoStatus(errno, absl::StrCat("realpath of ", path));
  absl::Status status = SyncDirectoryOf(target);
  std::free(target);
  return status;
}

}  // namespace

absl::StatusOr<std::shared_ptr<File>> File::Open(const std::string& path, OpenOptions options) {
  if (path.empty()) return absl::InvalidArgumentError("File::Open: the path is empty");
  if (options.create && options.read_only) {
    return absl::InvalidArgumentError(
        absl::StrCat("File::Open of ", path, ": create and read_only exclude each other"));
  }
  struct stat before;
  // A FIFO would block in open, so look first; what it is after the open counts.
  const bool exists = stat(path.c_str(), &before) == 0;
  if (exists && !S_ISREG(before.st_mode) && !S_ISBLK(before.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "File::Open of ", path, ": neither a regular file nor a block device",
        S_ISDIR(before.st_mode) ? " but a directory" : ""));
  }
  const bool lock = !options.read_only && options.locking == Locking::kExclusiveWriter;
  const bool claim = lock && exists && S_ISBLK(before.st_mode);
  const Deadline deadline =
      lock ? options.environment->DeadlineAfter(options.lock_timeout) : Deadline::Past();
  Opened opened{};
  do {
    opened = OpenOrMake(path, options, options.create && !exists, claim);
  } while (opened.descriptor < 0 && errno == EBUSY && claim &&
           WaitForOther(*options.environment, deadline));
  if (opened.descriptor < 0 && errno == EBUSY && claim) {
    return TakenStatus(path, options.lock_timeout,
                       "mounted, or open for writing already, here or in another process");
  }
  if (opened.descriptor < 0 && errno == EINVAL && options.direct == DirectIo::kRequire) {
    return ErrnoStatus(EOPNOTSUPP,
                       absl::StrCat("open of ", path, " with O_DIRECT: this file system has no "
                                    "direct I/O; use another one or DirectIo::kPrefer"));
  }
  if (opened.descriptor < 0) {
    return ErrnoStatus(errno, absl::StrCat("open of ", path, options.read_only ? " for reading"
                                                                               : " for writing"));
  }
  std::shared_ptr<File> file(new File());
  file->descriptor_ = opened.descriptor;
  file->path_ = path;
  file->direct_ = opened.direct;
  file->read_only_ = options.read_only;
  if (absl::Status status = file->LearnKind(); !status.ok()) return status;
  if (lock) {
    if (absl::Status status = file->Lock(options, deadline); !status.ok()) return status;
  }
  // Made here, by the link that led nowhere, or by somebody else a moment ago.
  if (options.create && !exists) {
    if (absl::Status status = SyncNewName(path); !status.ok()) return status;
  }
  return file;
}

absl::StatusOr<std::shared_ptr<File>> File::Adopt(int descriptor, const std::string& name) {
  std::shared_ptr<File> file(new File());
  file->descriptor_ = descriptor;
  file->path_ = name;
  struct stat status;
  if (fstat(descriptor, &status) != 0) {
    file->descriptor_ = -1;
    return ErrnoStatus(errno, absl::StrCat("fstat of ", name));
  }
  const int flags = fcntl(descriptor, F_GETFL);
  if (flags < 0) return ErrnoStatus(errno, absl::StrCat("fcntl of ", name));
  file->read_only_ = (flags & O_ACCMODE) == O_RDONLY;
  file->direct_ = (flags & O_DIRECT) != 0 && (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode));
  if (file->direct_) file->alignment_ = {kUnknownAlignment, kUnknownAlignment};
  file->block_device_ = S_ISBLK(status.st_mode);
  file->device_ = file->block_device_ ? status.st_rdev : status.st_dev;
  file->inode_ = file->block_device_ ? 0 : status.st_ino;
  file->positional_ = S_ISREG(status.st_mode) || S_ISBLK(status.st_mode);
  return file;
}

File::File(WithoutDescriptor facts)
    : path_(std::move(facts.path)),
      direct_(true),
      read_only_(facts.read_only),
      alignment_(facts.alignment),
      atomic_writes_(facts.atomic_writes),
      device_(facts.device),
      inode_(facts.inode) {}

File::~File() {
  if (descriptor_ >= 0) close(descriptor_);
}

absl::Status File::LearnKind() {
  struct stat status;
  if (fstat(descriptor_, &status) != 0) return ErrnoStatus(errno, absl::StrCat("fstat of ", path_));
  if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "File::Open of ", path_, ": neither a regular file nor a block device"));
  }
  block_device_ = S_ISBLK(status.st_mode);
  device_ = block_device_ ? status.st_rdev : status.st_dev;
  inode_ = block_device_ ? 0 : status.st_ino;
  if (direct_) LearnDirectIo();
  return absl::OkStatus();
}

void File::LearnDirectIo() {
  alignment_ = {kUnknownAlignment, kUnknownAlignment};
  NewStatx answer{};
  if (syscall(SYS_statx, descriptor_, "", AT_EMPTY_PATH, kStatxDioAlign | kStatxWriteAtomic,
              &answer) != 0) {
    return;
  }
  if ((answer.mask & kStatxDioAlign) != 0 && answer.dio_offset_align != 0) {
    alignment_ = {answer.dio_mem_align, answer.dio_offset_align};
  }
  // ext4 answers with zeros where the device has none.
  if ((answer.mask & kStatxWriteAtomic) != 0 && answer.atomic_write_unit_max != 0) {
    atomic_writes_ = {.unit_min_bytes = answer.atomic_write_unit_min,
                      .unit_max_bytes = answer.atomic_write_unit_max,
                      .segments_max = answer.atomic_write_segments_max};
  }
}

absl::Status File::Lock(const OpenOptions& options, Deadline deadline) {
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  while (fcntl(descriptor_, F_OFD_SETLK, &whole) != 0) {
    const int error = errno;
    if (error != EAGAIN && error != EACCES) {
      return ErrnoStatus(error, absl::StrCat("locking ", path_));
    }
    if (!WaitForOther(*options.environment, deadline)) {
      return TakenStatus(path_, options.lock_timeout,
                         "open for writing already, here or in another process");
    }
  }
  return absl::OkStatus();
}

std::optional<uint32_t> File::DeviceQueueDepth() const {
  const std::string device =
      absl::StrCat("/sys/dev/block/", major(device_), ":", minor(device_), "/");
  // A partition has no queue of its own; the disk is the folder above.
  for (const char* queue : {"queue/nr_requests", "../queue/nr_requests"}) {
    std::ifstream in(device + queue);
    uint32_t depth = 0;
    if (in >> depth && depth > 0) return depth;
  }
  return std::nullopt;
}

absl::StatusOr<uint64_t> File::SizeBytes() const {
  if (fork_guard_.forked()) return fork_guard_.Refusal(absl::StrCat("size of ", path_));
  if (block_device_) {
    uint64_t size_bytes = 0;
    if (ioctl(descriptor_, BLKGETSIZE64, &size_bytes) == 0) return size_bytes;
    return ErrnoStatus(errno, absl::StrCat("size of block device ", path_));
  }
  struct stat status;
  if (fstat(descriptor_, &status) != 0) return ErrnoStatus(errno, absl::StrCat("fstat of ", path_));
  return static_cast<uint64_t>(status.st_size);
}

absl::Status File::CheckRange(absl::string_view operation, uint64_t offset_bytes,
                              uint64_t length_bytes) const {
  if (fork_guard_.forked()) return fork_guard_.Refusal(absl::StrCat(operation, " of ", path_));
  const std::string what =
      absl::StrCat(operation, " of ", length_bytes, " bytes at ", offset_bytes);
  if (length_bytes == 0 || length_bytes > INT64_MAX || offset_bytes > INT64_MAX - length_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " in ", path_, ": not a range that a file can have"));
  }
  if (!block_device_) return absl::OkStatus();
  const absl::StatusOr<uint64_t> size_bytes = SizeBytes();
  if (!size_bytes.ok()) return size_bytes.status();
  if (offset_bytes + length_bytes <= *size_bytes) return absl::OkStatus();
  return absl::OutOfRangeError(
      absl::StrCat(what, ": block device ", path_, " has ", *size_bytes, " bytes"));
}

absl::Status File::Preallocate(uint64_t offset_bytes, uint64_t length_bytes) {
  absl::Status possible = CheckRange("Preallocate", offset_bytes, length_bytes);
  if (!possible.ok() || block_device_) return possible;
  int result;
  do {
    result = fallocate(descriptor_, 0, static_cast<off_t>(offset_bytes),
                       static_cast<off_t>(length_bytes));
  } while (result != 0 && errno == EINTR);
  if (result == 0) return absl::OkStatus();
  return ErrnoStatus(errno, absl::StrCat("fallocate of ", length_bytes, " bytes at offset ",
                                         offset_bytes, " of ", path_));
}

absl::Status File::Discard(uint64_t offset_bytes, uint64_t length_bytes) {
  if (absl::Status possible = CheckRange("Discard", offset_bytes, length_bytes); !possible.ok()) {
    return possible;
  }
  uint64_t range[2] = {offset_bytes, length_bytes};
  int result;
  do {
    result = block_device_ ? ioctl(descriptor_, BLKDISCARD, range)
                           : fallocate(descriptor_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                       static_cast<off_t>(offset_bytes),
                                       static_cast<off_t>(length_bytes));
  } while (result != 0 && errno == EINTR);
  if (result == 0) return absl::OkStatus();
  const int error = errno;
  return ErrnoStatus(error, absl::StrCat("discard of ", length_bytes, " bytes at offset ",
                                         offset_bytes, " of ", path_,
                                         block_device_ && error == EINVAL
                                             ? ": not whole blocks of the device"
                                             : ""));
}

absl::Status File::FreeSpace(uint64_t offset_bytes, uint64_t length_bytes) {
  if (!block_device_) return Discard(offset_bytes, length_bytes);
  if (absl::Status possible = CheckRange("FreeSpace", offset_bytes, length_bytes); !possible.ok()) {
    return possible;
  }
  // Not BLKDISCARD, which leaves it open what the range reads as.
  int result;
  do {
    result = fallocate(descriptor_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                       static_cast<off_t>(offset_bytes), static_cast<off_t>(length_bytes));
  } while (result != 0 && errno == EINTR);
  if (result == 0) return absl::OkStatus();
  return ErrnoStatus(errno, absl::StrCat("freeing ", length_bytes, " bytes at offset ",
                                         offset_bytes, " of block device ", path_));
}

absl::Status File::Truncate(uint64_t size_bytes) {
  if (fork_guard_.forked()) return fork_guard_.Refusal(absl::StrCat("Truncate of ", path_));
  if (size_bytes > INT64_MAX) {
    return absl::InvalidArgumentError(
        absl::StrCat("Truncate of ", path_, " to ", size_bytes, " bytes: larger than a file can be"));
  }
  int result;
  do {
    result = ftruncate(descriptor_, static_cast<off_t>(size_bytes));
  } while (result != 0 && errno == EINTR);
  if (result == 0) return absl::OkStatus();
  return ErrnoStatus(errno, absl::StrCat("ftruncate of ", path_, " to ", size_bytes, " bytes"));
}

absl::Status File::SyncName() const {
  if (fork_guard_.forked()) return fork_guard_.Refusal(absl::StrCat("SyncName of ", path_));
  struct stat there;
  const bool leads_here = descriptor_ >= 0 && !block_device_ && stat(path_.c_str(), &there) == 0 &&
                          there.st_dev == device_ && there.st_ino == inode_;
  return leads_here ? SyncNewName(path_) : absl::OkStatus();
}

absl::Status File::Sync() {
  if (fork_guard_.forked()) return fork_guard_.Refusal(absl::StrCat("Sync of ", path_));
  // EINTR included: after any failure it is unknown what reached the disk.
  if (fdatasync(descriptor_) == 0) return absl::OkStatus();
  return ErrnoStatus(errno, absl::StrCat("fdatasync of ", path_));
}

}  // namespace fixpool::io
