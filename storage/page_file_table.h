#ifndef FIXPOOL_STORAGE_PAGE_FILE_TABLE_H_
#define FIXPOOL_STORAGE_PAGE_FILE_TABLE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/io/file.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/file_changes.h"
#include "fixpool/storage/file_scans.h"
#include "fixpool/storage/page_id.h"
#include "fixpool/storage/page_seal.h"
#include "fixpool/storage/page_words.h"
#include "fixpool/storage/torn_pages.h"
#include "fixpool/storage/unsynced_lsns.h"

namespace fixpool::storage {

struct DoubleWriteArea;

// What a cache knows of one open file. Guarded by the cache's lock.
struct PageFile {
  FileId id;
  std::shared_ptr<io::File> file;
  io::FileHandle handle;
  FileWords* words = nullptr;  // of its pages; while it is open
  // What its pages are sealed with; null: they are not.
  std::shared_ptr<const PageSeal> seal;
  uint64_t identity = 0;       // FileOptions::identity
  uint32_t payload_bytes = 0;  // of a page: all of it but for the seal's trailer
  // What is in force of FileOptions::torn_pages: kNone, kAtomic or kDoubleWrite, and then its area.
  TornPageProtection protection = TornPageProtection::kNone;
  std::shared_ptr<DoubleWriteArea> area;
  uint32_t pages_of_a_write = io::kMaxPieces;  // at most
  // The logical end: pages that exist, on disk or (so far) in memory only. Truncate alone makes it
  // less.
  uint64_t page_count = 0;
  // Allocate, FreePages and Truncate at work, which CloseFile does not begin beside.
  FileChanges changes;
  // CloseFile is at work: nobody else is let in.
  bool closing = false;
  // Flushes at work, which CloseFile waits for.
  uint32_t flushes = 0;
  // Transfers in flight, syncs included.
  uint32_t in_flight = 0;
  // A write ended well that no sync has covered that began after it.
  bool unsynced = false;
  UnsyncedLsns unsynced_lsns;  // of those pages that have a first-dirty LSN
  // At most one sync is in flight, so that of two the first to fail is seen before the other
  // is believed: the kernel reports a lost write to one of them only.
  uint64_t syncs_started = 0;
  uint64_t syncs_ended = 0;
  // The first failed sync. What had been written by then may or may not be on disk, and
  // asking again proves nothing (fsync(2), "Errors"): the file takes no more writes.
  absl::Status poison;

  // Who reads it page after page; null: nobody looks.
  std::unique_ptr<FileScans> scans;

  const std::string& path() const { return file->path(); }
  bool sync_in_flight() const { return syncs_started != syncs_ended; }
};

// The open files of one cache, by id. Guarded by the cache's lock.
class PageFileTable {
 public:
  static constexpr uint32_t kMaxFiles = 1u << 16;

  // Gives the file its id. FailedPrecondition: the same file (by device and inode) is open
  // in this cache; a page would get two frames. ResourceExhausted: kMaxFiles are open.
  absl::StatusOr<PageFile*> Add(PageFile file);
  // FailedPrecondition: as Add. For who wants to do something with the file before.
  absl::Status CheckNotOpen(const io::File& file) const;
  // Null: no such file. Pointers stay valid until Remove.
  PageFile* Find(FileId id) const;
  // Of a page that is in memory, whose file is open therefore.
  PageFile& at(FileId id) const { return *slots_[id.slot()]; }
  void Remove(FileId id);

  // Those that are open, in no particular order.
  std::vector<FileId> Ids() const;
  size_t size() const;

 private:
  std::vector<std::unique_ptr<PageFile>> slots_;  // null: free
};

// NotFound: `id` is not that of an open file of this cache.
absl::Status UnknownFileStatus(FileId id);

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_PAGE_FILE_TABLE_H_
