#include "benchmarks/report_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>

#include "absl/strings/str_cat.h"
#include "benchmarks/exit_code.h"
#include "fixpool/io/error.h"

namespace fixpool::benchmarks {
namespace {

bool SameFile(int descriptor, const std::string& path) {
  struct stat a, b;
  return fstat(descriptor, &a) == 0 && stat(path.c_str(), &b) == 0 && a.st_dev == b.st_dev &&
         a.st_ino == b.st_ino;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ReportFile>> ReportFile::Open(const std::string& path,
                                                             const std::string& data_path) {
  const auto cannot = [&path](const char* why) {
    return UsageError(absl::StrCat("--json=", path, " cannot be written: ", why));
  };
  std::unique_ptr<ReportFile> file(new ReportFile());
  file->path_ = path;
  struct stat found;
  const bool existed = stat(path.c_str(), &found) == 0;
  file->descriptor_ = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (file->descriptor_ < 0) return cannot(strerror(errno));
  file->made_ = !existed;
  if (SameFile(file->descriptor_, data_path)) return cannot("it is the file to be measured");
  return file;
}

ReportFile::~ReportFile() {
  if (made_) unlink(path_.c_str());
  if (descriptor_ >= 0) close(descriptor_);
}

absl::Status ReportFile::Write(const std::string& text) {
  // A pipe or terminal has no length; the write below is what counts.
  [[maybe_unused]] const int ignored = ftruncate(descriptor_, 0);
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = write(descriptor_, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io::ErrnoStatus(errno, absl::StrCat("writing ", path_));
    done += static_cast<size_t>(n);
  }
  made_ = false;
  return absl::OkStatus();
}

}  // namespace fixpool::benchmarks
