#include "fixpool/io/file_table.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace fixpool::io {

absl::StatusOr<FileHandle> FileTable::Add(std::shared_ptr<File> file, bool fixed) {
  for (size_t slot = 0; slot < entries_.size(); ++slot) {
    Entry& entry = entries_[slot];
    if (entry.file != nullptr) continue;
    if (++entry.generation == 0) entry.generation = 1;
    entry.file = std::move(file);
    entry.fixed = fixed;
    entry.closing = false;
    return FileHandle(static_cast<uint16_t>(slot), entry.generation);
  }
  return absl::ResourceExhaustedError(
      absl::StrCat("AddFile of ", file->path(), ": all ", entries_.size(),
                   " places are taken; raise EngineOptions::max_files"));
}

FileTable::Entry* FileTable::Find(FileHandle handle) {
  if (handle.slot() >= entries_.size()) return nullptr;
  Entry& entry = entries_[handle.slot()];
  if (entry.file == nullptr || entry.generation != handle.generation() || entry.closing) {
    return nullptr;
  }
  return &entry;
}

void FileTable::Remove(FileHandle handle) {
  Entry& entry = entries_[handle.slot()];
  entry.file = nullptr;
  entry.closing = false;
}

absl::Status UnknownFileStatus(FileHandle handle) {
  return absl::NotFoundError(absl::StrCat("file handle (slot ", handle.slot(), ", generation ",
                                          handle.generation(),
                                          ") names no file of this engine; it was never added, or "
                                          "was removed"));
}

absl::Status RemoveFileTimedOut(const FileTable::Entry& entry) {
  return absl::DeadlineExceededError(absl::StrCat("RemoveFile of ", entry.file->path(), ": ",
                                                  entry.in_flight,
                                                  " requests still in flight; the file stays"));
}

}  // namespace fixpool::io
