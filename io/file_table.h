#ifndef FIXPOOL_IO_FILE_TABLE_H_
#define FIXPOOL_IO_FILE_TABLE_H_

#include "fixpool/io/require_cpp20.h"

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "fixpool/io/file.h"
#include "fixpool/io/io_engine.h"

namespace fixpool::io {

// The files that one engine knows, by slot. Thread-compatible: the engine's lock guards it.
// Slots are reused, generations are not (but after 2^32 of them on one slot).
class FileTable {
 public:
  struct Entry {
    std::shared_ptr<File> file;  // null: the slot is free
    uint32_t generation = 0;
    uint32_t in_flight = 0;      // requests accepted and not yet finished by the kernel
    bool closing = false;        // RemoveFile waits for in_flight == 0
    bool fixed = false;          // registered buffers work on this file
  };

  explicit FileTable(uint32_t max_files) : entries_(max_files) {}

  // ResourceExhausted: full.
  absl::StatusOr<FileHandle> Add(std::shared_ptr<File> file, bool fixed);
  // Null: no such file, or it is being removed.
  Entry* Find(FileHandle handle);
  const Entry* Find(FileHandle handle) const { return const_cast<FileTable*>(this)->Find(handle); }
  // The entry of an operation in flight, whose file cannot have gone.
  Entry& at(uint16_t slot) { return entries_[slot]; }
  // Frees the slot. The caller has seen in_flight == 0.
  void Remove(FileHandle handle);

 private:
  std::vector<Entry> entries_;
};

// NotFound, for a handle that Find does not know.
absl::Status UnknownFileStatus(FileHandle handle);

// DeadlineExceeded, for a RemoveFile that waited in vain.
absl::Status RemoveFileTimedOut(const FileTable::Entry& entry);

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_FILE_TABLE_H_
