#include "tests/crash/raw_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "fixpool/io/error.h"

namespace fixpool::tests {
namespace {

absl::Status Failed(absl::string_view what, const std::string& path) {
  return io::ErrnoStatus(errno, absl::StrCat(what, " ", path));
}

}  // namespace

absl::StatusOr<std::unique_ptr<RawFile>> RawFile::Create(const std::string& path) {
  const int descriptor = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (descriptor < 0) return Failed("making", path);
  return std::unique_ptr<RawFile>(new RawFile(descriptor, path));
}

RawFile::~RawFile() { close(descriptor_); }

absl::Status RawFile::Append(absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put =
        pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(size_bytes_));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return Failed("writing", path_);
    bytes.remove_prefix(static_cast<size_t>(put));
    size_bytes_ += static_cast<uint64_t>(put);
  }
  return absl::OkStatus();
}

absl::Status RawFile::Sync() {
  return fdatasync(descriptor_) == 0 ? absl::OkStatus() : Failed("fdatasync of", path_);
}

absl::StatusOr<std::string> ReadAll(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return Failed("opening", path);
  const absl::Cleanup closer = [descriptor] { close(descriptor); };
  std::string all;
  std::string buffer(size_t{64} << 10, '\0');
  while (true) {
    const ssize_t got =
        pread(descriptor, buffer.data(), buffer.size(), static_cast<off_t>(all.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Failed("reading", path);
    if (got == 0) return all;
    all.append(buffer, 0, static_cast<size_t>(got));
  }
}

absl::StatusOr<std::vector<std::string>> NamesIn(const std::string& directory) {
  DIR* const stream = opendir(directory.c_str());
  if (stream == nullptr) return Failed("opening", directory);
  const absl::Cleanup closer = [stream] { closedir(stream); };
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* const entry = readdir(stream);
    if (entry == nullptr) break;
    names.emplace_back(entry->d_name);
  }
  if (errno != 0) return Failed("reading", directory);
  return names;
}

absl::Status SyncDirectory(const std::string& directory) {
  const int descriptor = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return Failed("opening", directory);
  const absl::Cleanup closer = [descriptor] { close(descriptor); };
  return fsync(descriptor) == 0 ? absl::OkStatus() : Failed("fsync of", directory);
}

absl::Status RemoveFile(const std::string& path) {
  return unlink(path.c_str()) == 0 ? absl::OkStatus() : Failed("unlink of", path);
}

absl::Status ReplaceFile(const std::string& directory, const std::string& name,
                         absl::string_view bytes) {
  const std::string path = absl::StrCat(directory, "/", name);
  const std::string fresh = absl::StrCat(path, ".new");
  absl::StatusOr<std::unique_ptr<RawFile>> file = RawFile::Create(fresh);
  if (!file.ok()) return file.status();
  if (absl::Status status = (*file)->Append(bytes); !status.ok()) return status;
  if (absl::Status status = (*file)->Sync(); !status.ok()) return status;
  if (std::rename(fresh.c_str(), path.c_str()) != 0) return Failed("rename to", path);
  return SyncDirectory(directory);
}

}  // namespace fixpool::tests
