#include "fixpool/io/directory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "fixpool/io/error.h"

namespace fixpool::io {
namespace {

std::string DirectoryOf(const std::string& path) {
  // A slash at the end says no more than that it should be a directory.
  const size_t end = path.find_last_not_of('/');
  if (end == std::string::npos) return path.empty() ? "." : "/";
  const size_t slash = path.rfind('/', end);
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// What can be done about it; with the "; " before it.
absl::string_view RemedyFor(int error_number) {
  switch (error_number) {
    case ENOENT:
      return "; there is no such file, or a directory of the path is missing";
    case EXDEV:
      return "; the paths are on different file systems: copy the file, flush the copy, and remove "
             "the original";
    case EACCES:
    case EPERM:
      return "; names in a directory are changed by who may write to it, and in one with the "
             "sticky "
             "bit by the owner of the file";
    case EROFS:
      return "; the file system is mounted read-only";
    case ENOSPC:
    case EDQUOT:
      return "; the directory needs a block more, and there is none: make room";
    case EISDIR:
    case ENOTEMPTY:
    case EEXIST:
      return "; a directory is there, which a file cannot take the place of";
    default:
      return "";
  }
}

absl::Status Failed(int error_number, absl::string_view what) {
  const absl::Status status = ErrnoStatus(error_number, what);
  const std::string message = absl::StrCat(status.message(), RemedyFor(error_number));
  const bool precondition = error_number == EXDEV || error_number == EISDIR ||
                            error_number == ENOTEMPTY || error_number == EEXIST;
  return Reworded(status, precondition ? absl::StatusCode::kFailedPrecondition : status.code(),
                  message);
}

// Of a change that is there for all to see.
absl::Status SyncAfter(absl::string_view what, const std::string& path) {
  absl::Status synced = SyncDirectoryOf(path);
  if (synced.ok()) return synced;
  return Reworded(synced, synced.code(),
                  absl::StrCat(what, " was done, and whether it outlives a crash is unknown: ",
                               synced.message()));
}

}  // namespace

absl::Status SyncDirectory(const std::string& directory) {
  int descriptor;
  do {
    descriptor = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  } while (descriptor < 0 && errno == EINTR);
  if (descriptor < 0) return Failed(errno, absl::StrCat("open of directory ", directory));
  const int error = fsync(descriptor) == 0 ? 0 : errno;
  close(descriptor);
  if (error != 0) return ErrnoStatus(error, absl::StrCat("fsync of directory ", directory));
  return absl::OkStatus();
}

absl::Status SyncDirectoryOf(const std::string& path) { return SyncDirectory(DirectoryOf(path)); }

absl::Status RenameFile(const std::string& from, const std::string& to) {
  const std::string what = absl::StrCat("rename of ", from, " to ", to);
  if (rename(from.c_str(), to.c_str()) != 0) return Failed(errno, what);
  // First the new name: a crash in between may leave both, but not neither.
  if (absl::Status status = SyncAfter(what, to); !status.ok()) return status;
  if (DirectoryOf(from) == DirectoryOf(to)) return absl::OkStatus();
  return SyncAfter(what, from);
}

absl::Status RemoveFile(const std::string& path) {
  const std::string what = absl::StrCat("unlink of ", path);
  struct stat status;
  if (lstat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(what, ": it is a directory"));
  }
  if (unlink(path.c_str()) != 0) return Failed(errno, what);
  return SyncAfter(what, path);
}

}  // namespace fixpool::io
