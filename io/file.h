#ifndef FIXPOOL_IO_FILE_H_
#define FIXPOOL_IO_FILE_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/fork_guard.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::io {

// An open regular file or block device.
//
//   auto file = File::Open("data.db", {.create = true});
//   (*file)->Preallocate(0, 1 << 30);
//   auto handle = engine->AddFile(*file);
//
// Shape: offsets and sizes in bytes. With direct I/O every offset and length must be a
// multiple of alignment().offset_bytes and every address one of alignment().memory_bytes,
// as the kernel states them (statx STATX_DIOALIGN, Linux 6.1; 4096 where it does not say).
// Ownership: shared; an engine keeps a reference for as long as it may do I/O on the file,
// so the descriptor is not closed under a transfer. The descriptor closes with the last
// reference, and the lock goes with it.
// Identity: device and inode, not the path. A second open for writing of the same file,
// here or in another process, is refused (open file description lock, fcntl(2) F_OFD_SETLK)
// unless the caller says that it locks by itself. That lock is one of the node in /dev, so block
// devices are claimed as well (open(2), O_EXCL): a second node of the same device, and a device
// that is mounted, are refused.
// In a forked child: the descriptor and the lock are the parent's, shared; the methods that do
// I/O and IoEngine::AddFile refuse it (FailedPrecondition), and the destructor closes the
// child's descriptor, which leaves the lock with the parent. As long as the child lives and has
// neither closed it nor called execve(2), the lock outlives the parent's File.
// Threads: thread-safe. The methods that do I/O block; transfers go through an IoEngine.
class File {
 public:
  enum class DirectIo {
    kRequire,  // O_DIRECT or Unimplemented
    kPrefer,   // O_DIRECT where the file system has it, else buffered; see direct()
    kNever,    // the kernel's page cache
  };
  enum class Locking {
    kExclusiveWriter,  // refuse a second writer
    kCaller,           // the caller guarantees it by other means
  };
  struct OpenOptions {
    // Makes the file if it does not exist, and then syncs its directory, so that its name is on
    // stable storage when Open returns.
    bool create = false;
    bool read_only = false;
    DirectIo direct = DirectIo::kPrefer;
    Locking locking = Locking::kExclusiveWriter;
    // How long to wait for another writer's lock. Default: long enough for the lock of a
    // process that was killed, which stays until the kernel has taken its rings apart (tens
    // of milliseconds on an idle disk), so that a restart at once is not refused.
    absl::Duration lock_timeout = absl::Milliseconds(500);
    mode_t mode = 0644;  // of a file made, before the umask
    // The clock that lock_timeout is measured on, and who waits meanwhile.
    Environment* environment = Environment::Default();
  };
  struct Alignment {
    uint32_t memory_bytes = 1;  // of addresses
    uint32_t offset_bytes = 1;  // of offsets and lengths
  };
  // Writes that a loss of power leaves done or undone as a whole (RWF_ATOMIC; statx
  // STATX_WRITE_ATOMIC, Linux 6.11). All 0: there are none.
  struct AtomicWrites {
    // Lengths of one: powers of two from unit_min_bytes to unit_max_bytes, at offsets that are
    // multiples of the length.
    uint32_t unit_min_bytes = 0;
    uint32_t unit_max_bytes = 0;
    uint32_t segments_max = 0;  // stretches of memory that one may come from
  };

  // NotFound, PermissionDenied, ...: the errno's code, with the path and what was tried.
  // FailedPrecondition: somebody else has it open for writing, or mounted, and still had it
  // after lock_timeout. InvalidArgument: empty
  // path, a directory, a pipe or socket, or create together with read_only.
  // Unimplemented: DirectIo::kRequire on a file system without it. A file that this call
  // made is removed again if it has no direct I/O.
  static absl::StatusOr<std::shared_ptr<File>> Open(const std::string& path, OpenOptions options);
  static absl::StatusOr<std::shared_ptr<File>> Open(const std::string& path) {
    return Open(path, OpenOptions());
  }

  // Takes over `descriptor` (closes it, also on error), whatever it refers to: memfd,
  // pipe, an inherited descriptor. No lock is taken. For those who know what they have;
  // the tests use it to put slow I/O in flight.
  static absl::StatusOr<std::shared_ptr<File>> Adopt(int descriptor, const std::string& name);

  virtual ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  int descriptor() const { return descriptor_; }
  const std::string& path() const { return path_; }
  bool direct() const { return direct_; }
  bool read_only() const { return read_only_; }
  bool block_device() const { return block_device_; }
  // Whether it has offsets at all: true but for an adopted pipe, socket and the like.
  bool positional() const { return positional_; }
  Alignment alignment() const { return alignment_; }
  // What the kernel says of the file, which is nothing without direct I/O, and on most file
  // systems. (XFS with reflinks has them on any device from Linux 6.16 on, ext4 where the device
  // has.)
  uint32_t atomic_write_unit_min() const { return atomic_writes_.unit_min_bytes; }
  uint32_t atomic_write_unit_max() const { return atomic_writes_.unit_max_bytes; }
  uint32_t atomic_write_segments_max() const { return atomic_writes_.segments_max; }
  uint64_t device() const { return device_; }
  uint64_t inode() const { return inode_; }
  // Whether this is the process that opened it.
  const ForkGuard& fork_guard() const { return fork_guard_; }

  // Requests that the block device below takes before it makes submitters wait
  // (queue/nr_requests in sysfs); nullopt where there is no such device, or nobody says.
  std::optional<uint32_t> DeviceQueueDepth() const;

  // Bytes; of a block device, its capacity.
  virtual absl::StatusOr<uint64_t> SizeBytes() const;
  // Reserves disk space so that later writes neither extend the file nor run out of it.
  // The size grows to cover the range. ResourceExhausted: no space. Unimplemented: the
  // file system cannot. A no-op inside a block device, OutOfRange past its end.
  virtual absl::Status Preallocate(uint64_t offset_bytes, uint64_t length_bytes);
  // Tells the disk that what is in the range is not needed any more: space goes back to the file
  // system (fallocate(2), FALLOC_FL_PUNCH_HOLE), or to the device (BLKDISCARD). Afterwards it
  // reads as zeros in a file, and as anything in a device, until it is written. The size stays.
  // The caller sees to it that no transfer of the range is in flight.
  // InvalidArgument: not a range that a file can have; of a device, not whole blocks.
  // OutOfRange: past the end of a device. Unimplemented: the file system or the device cannot.
  virtual absl::Status Discard(uint64_t offset_bytes, uint64_t length_bytes);
  // The same, but that of a device, too, the range reads as zeros afterwards. Unimplemented: a
  // device that cannot do both at once.
  absl::Status FreeSpace(uint64_t offset_bytes, uint64_t length_bytes);
  // The size becomes that; what is new reads as zeros. On stable storage with the next Sync.
  virtual absl::Status Truncate(uint64_t size_bytes);
  // Syncs the directory that its name is in, if path() still leads to this file; else there is
  // nothing to do. Errors: see directory.h.
  absl::Status SyncName() const;
  // fdatasync(2), which includes the size if that has changed ("Notes"). Once it has failed, a later OK proves nothing: see docs/.
  virtual absl::Status Sync();

 protected:
  // One that no descriptor stands for (descriptor() is -1), as simulators have them, with engines
  // of their own; they override the virtual methods. A regular file with direct I/O.
  struct WithoutDescriptor {
    std::string path;
    uint64_t device;
    uint64_t inode;
    Alignment alignment;
    bool read_only = false;
    AtomicWrites atomic_writes = {};
  };
  explicit File(WithoutDescriptor facts);

 private:
  File() = default;
  absl::Status LearnKind();
  // Alignments and atomic writes of one with direct I/O.
  void LearnDirectIo();
  absl::Status Lock(const OpenOptions& options, Deadline deadline);
  // Of `operation` on that range: whether there can be one.
  absl::Status CheckRange(absl::string_view operation, uint64_t offset_bytes,
                          uint64_t length_bytes) const;

  const ForkGuard fork_guard_;
  int descriptor_ = -1;
  std::string path_;
  bool direct_ = false;
  bool read_only_ = false;
  bool block_device_ = false;
  bool positional_ = true;
  Alignment alignment_;
  AtomicWrites atomic_writes_;
  uint64_t device_ = 0;
  uint64_t inode_ = 0;
};

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_FILE_H_
