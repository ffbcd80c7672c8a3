#ifndef FIXPOOL_STORAGE_FILE_OPTIONS_H_
#define FIXPOOL_STORAGE_FILE_OPTIONS_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "fixpool/io/file.h"
#include "fixpool/storage/lsn.h"
#include "fixpool/storage/page_seal.h"
#include "fixpool/storage/torn_pages.h"

namespace fixpool::storage {

// How PageCache::OpenFile opens a file. See io::File.
struct FileOptions {
  // Makes the file if it does not exist.
  bool create = false;
  // Write and Make are refused.
  bool read_only = false;
  // Default: past the kernel's own page cache, which would keep every page twice, wherever
  // the file system can do that.
  io::File::DirectIo direct = io::File::DirectIo::kPrefer;
  // Default: a second writer, here or in another process, is refused.
  io::File::Locking locking = io::File::Locking::kExclusiveWriter;
  // How long to wait for the other writer's lock; see io::File::OpenOptions.
  absl::Duration lock_timeout = io::File::OpenOptions().lock_timeout;
  mode_t mode = 0644;  // of a file made, before the umask
  // The file is made at least this large, with its disk space reserved, so that write-back
  // neither extends it (which is slow) nor finds the disk full. Rounded up to pages. The new
  // pages exist: PageCount counts them, and they read as zeros.
  uint64_t preallocate_bytes = 0;
  // Seals pages when they are written and verifies those that are read: see PageSeal and
  // Crc32cSeal. Who uses the pages sees the rest of them, PageCache::PayloadBytes() of each. The
  // same one may serve several files; the cache keeps it as long as the file is open. Null: pages
  // are what they are.
  std::shared_ptr<const PageSeal> seal = nullptr;
  // Of a sealed file: what tells its pages from those of other files, whatever the files are
  // called and wherever they are copied. Chosen by the caller when the file is made, at random for
  // one, and kept by the caller. Not 0.
  uint64_t identity = 0;
  // What is done so that a crash leaves no page torn: see docs/torn_pages.md. What is in force:
  // PageCache::ProtectionOf. Default: nothing, since it costs as much again as the writes do where
  // the device does not do it.
  //   kAtomic       each page is a write of its own. Unimplemented where the file has none of that
  //                 size (io::File::atomic_write_unit_max).
  //   kDoubleWrite  needs a seal, since without one a torn page looks like any other.
  //   kBest         kAtomic, or else kDoubleWrite.
  // A file that is opened with kNone or kAtomic though there are copies in its double-write area
  // is refused (FailedPrecondition), and so is one that is torn and opened read_only.
  TornPageProtection torn_pages = TornPageProtection::kNone;
  // The file of the copies, which is made if there is none, and belongs to this file as long as
  // that exists: to be kept, moved and removed with it. Best on the same disk, since both are
  // needed. Empty: the path with ".double_write" added, but of a block device.
  std::string double_write_path = "";
  // The same, opened or made up by the caller; then double_write_path does not count.
  std::shared_ptr<io::File> double_write_area = nullptr;
  // Of it, how much there is for copies. When it is full of copies that may be needed, the file is
  // synced. Default: seldom enough not to matter, little enough to be read in a moment when the
  // file is opened.
  uint64_t double_write_bytes = uint64_t{32} << 20;
};

// How PageCache::CloseFile closes one.
struct CloseOptions {
  // Forgets the pages that were not written, instead of flushing them: for a file that
  // cannot be written any more, and for one that is going to be deleted.
  bool discard_changes = false;
  // Absent: PageCache::Options::default_flush_timeout.
  std::optional<absl::Duration> timeout = std::nullopt;
};

// How PageCache::Allocate, FreePages and Truncate change what a file consists of.
struct SpaceOptions {
  // Of the first record of the caller's log that tells of the change: before pages are freed or
  // cut off the log is made durable up to there, and from there on OldestDirtyLsn() wants it until
  // the change is on stable storage. kNone: OldestDirtyLsn() goes by what WriteAheadLog::NextLsn()
  // says at the time of the call.
  Lsn lsn = Lsn::kNone;
  // Allocate: an error (Unimplemented) where the file system cannot reserve space, instead of pages
  // whose writes may find the disk full; CacheStats::unreserved counts those.
  bool require_reserved = false;
  // For the changes of others of the same file, for transfers, for the log and the sync. Absent:
  // PageCache::Options::default_flush_timeout.
  std::optional<absl::Duration> timeout = std::nullopt;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_FILE_OPTIONS_H_
