#ifndef FIXPOOL_IO_DIRECTORY_H_
#define FIXPOOL_IO_DIRECTORY_H_

#include <string>

#include "absl/status/status.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::io {

// Names of files, changed so that the change is on stable storage when the call returns OK.
//
//   (*cache)->CloseFile(*file);                         // its bytes are on disk
//   absl::Status status = RenameFile("data.new", "data.db");
//   if (!status.ok()) ...the old name or the new one, but always one of the two whole files...
//   status = RemoveFile("data.old");
//
// A name is an entry of a directory, and on disk once the directory has been synced (fsync(2),
// "Description": syncing a file does not do it). File::Open with `create` does that by itself.
// Whoever has a file open keeps it, under whatever name and none: io::File and PageCache know it
// by device and inode, and go on telling of it by the path that it was opened with.
//
// Threads: any; all of these block in system calls.
// Errors: by errno, with the paths, what was tried, and what can be done. NotFound: no such file,
// or a directory of the path is missing. PermissionDenied: the directory may not be written to. An
// error of the sync says so: the change is there for everybody to see, and what a crash leaves of
// it is unknown. After an I/O error a later sync that succeeds proves nothing.

// The names in the directory, as they are now, are on stable storage.
absl::Status SyncDirectory(const std::string& directory);

// The same of the directory that the last part of `path` is a name in.
absl::Status SyncDirectoryOf(const std::string& path);

// rename(2): the file has another name, and one that had that name before has none. At no moment is
// there no file of that name, if there was one. Syncs the directory of `to`, then that of `from` if
// it is another. Of the file's bytes this says nothing: flush them before.
// FailedPrecondition also: `to` is on another file system, or is a directory and `from` is not.
absl::Status RenameFile(const std::string& from, const std::string& to);

// unlink(2). The file's space is given back when nobody has it open any more.
// InvalidArgument also: it is a directory.
absl::Status RemoveFile(const std::string& path);

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_DIRECTORY_H_
