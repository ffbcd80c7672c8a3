#include "benchmarks/page_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "benchmarks/exit_code.h"
#include "benchmarks/verify_pattern.h"
#include "fixpool/io/error.h"
#include "fixpool/io/file.h"

namespace fixpool::benchmarks {
namespace {

constexpr size_t kChunkBytes = size_t{1} << 20;
constexpr uint32_t kFirstSequence = 1;

struct FreeDeleter {
  void operator()(std::byte* p) const { std::free(p); }
};
using AlignedBuffer = std::unique_ptr<std::byte, FreeDeleter>;

AlignedBuffer NewAlignedBuffer(size_t size_bytes) {
  return AlignedBuffer(static_cast<std::byte*>(std::aligned_alloc(4096, size_bytes)));
}

std::string ParentOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

absl::Status CannotUse(const std::string& path, int error_number) {
  return UsageError(absl::StrCat("--file=", path, " cannot be used: ", strerror(error_number)));
}

absl::Status ReadAll(int descriptor, absl::Span<std::byte> bytes, uint64_t offset_bytes,
                     const std::string& path) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = pread(descriptor, bytes.data() + done, bytes.size() - done,
                            static_cast<off_t>(offset_bytes + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io::ErrnoStatus(errno, absl::StrCat("reading ", path, " to check it"));
    if (n == 0) return absl::OutOfRangeError(absl::StrCat(path, " became shorter meanwhile"));
    done += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

absl::Status WriteAll(int descriptor, absl::Span<const std::byte> bytes, uint64_t offset_bytes,
                      const std::string& path) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = pwrite(descriptor, bytes.data() + done, bytes.size() - done,
                             static_cast<off_t>(offset_bytes + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io::ErrnoStatus(errno, absl::StrCat("filling ", path));
    done += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

// Reserves space up to `end` and leaves the size as it is: a file whose filling was interrupted
// is too short and not, without anybody noticing, full of zeros.
absl::Status Reserve(int descriptor, const std::string& path, uint64_t end) {
  while (fallocate(descriptor, FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(end)) != 0) {
    // A file system that cannot reserve still gets every byte written.
    if (errno == EOPNOTSUPP || errno == ENOSYS) return absl::OkStatus();
    if (errno != EINTR) return io::ErrnoStatus(errno, absl::StrCat("reserving space for ", path));
  }
  return absl::OkStatus();
}

// Writes the pattern to the bytes from `begin` to `end`, wherever in a sector these are.
absl::Status FillRange(int descriptor, const std::string& path, uint64_t begin, uint64_t end) {
  const AlignedBuffer buffer = NewAlignedBuffer(kChunkBytes);
  uint64_t chunk = begin / kPatternSectorBytes * kPatternSectorBytes;
  for (; chunk < end; chunk += kChunkBytes) {
    WritePattern(absl::MakeSpan(buffer.get(), kChunkBytes), chunk, kFirstSequence);
    const uint64_t from = std::max(chunk, begin);
    const uint64_t to = std::min(chunk + kChunkBytes, end);
    const absl::Span<const std::byte> bytes(buffer.get() + (from - chunk), to - from);
    if (absl::Status status = WriteAll(descriptor, bytes, from, path); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> BlockDeviceBytes(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return CannotUse(path, errno);
  uint64_t size_bytes = 0;
  const int result = ioctl(descriptor, BLKGETSIZE64, &size_bytes);
  const int error_number = errno;
  close(descriptor);
  if (result != 0) return CannotUse(path, error_number);
  return size_bytes;
}

}  // namespace

absl::StatusOr<PageFile> PageFile::Inspect(const PageIoOptions& options) {
  PageFile file;
  file.path_ = options.file;
  file.page_bytes_ = options.page_bytes;
  file.direct_ = options.direct;
  file.writes_ = options.operation != Operation::kRead;
  file.verify_ = options.verify;
  file.rewrite_ = options.verify && file.writes_;
  if (absl::Status status = file.LookAt(options); !status.ok()) return status;
  if (absl::Status status = file.CheckPermission(); !status.ok()) return status;
  if (absl::Status status = file.LookForRoom(); !status.ok()) return status;
  if (file.exists_) {
    if (absl::Status status = file.CheckAlignment(); !status.ok()) return status;
    if (file.verify_ && !file.rewrite_) {
      if (absl::Status status = file.LookForPattern(); !status.ok()) return status;
    }
  }
  return file;
}

absl::Status PageFile::LookAt(const PageIoOptions& options) {
  struct stat found;
  exists_ = stat(path_.c_str(), &found) == 0;
  if (!exists_ && errno != ENOENT) return CannotUse(path_, errno);
  if (exists_ && S_ISDIR(found.st_mode)) {
    return UsageError(absl::StrCat("--file=", path_, " is a directory"));
  }
  if (exists_ && !S_ISREG(found.st_mode) && !S_ISBLK(found.st_mode)) {
    return UsageError(
        absl::StrCat("--file=", path_, " is neither a regular file nor a block device"));
  }
  if (exists_) {
    block_device_ = S_ISBLK(found.st_mode);
    existing_bytes_ = static_cast<uint64_t>(found.st_size);
    if (block_device_) {
      absl::StatusOr<uint64_t> size_bytes = BlockDeviceBytes(path_);
      if (!size_bytes.ok()) return size_bytes.status();
      existing_bytes_ = *size_bytes;
    }
  }
  if (options.file_bytes != 0) {
    file_bytes_ = options.file_bytes;
    return absl::OkStatus();
  }
  if (!exists_) {
    return UsageError(absl::StrCat("--file=", path_,
                                   " does not exist, and without --file_bytes it cannot be made"));
  }
  file_bytes_ = existing_bytes_ / page_bytes_ * page_bytes_;
  if (file_bytes_ == 0) {
    return UsageError(absl::StrCat("--file=", path_, " holds ", existing_bytes_,
                                   " bytes, less than one page; give --file_bytes"));
  }
  return absl::OkStatus();
}

absl::Status PageFile::CheckPermission() const {
  if (!exists_) {
    const std::string folder = ParentOf(path_);
    struct stat found;
    if (stat(folder.c_str(), &found) != 0) return CannotUse(path_, errno);
    if (!S_ISDIR(found.st_mode)) return CannotUse(path_, ENOTDIR);
    if (access(folder.c_str(), W_OK | X_OK) != 0) return CannotUse(path_, errno);
    return absl::OkStatus();
  }
  const bool changes = writes_ || existing_bytes_ < file_bytes_;
  if (access(path_.c_str(), changes ? R_OK | W_OK : R_OK) != 0) return CannotUse(path_, errno);
  return absl::OkStatus();
}

absl::Status PageFile::LookForRoom() const {
  if (existing_bytes_ >= file_bytes_) return absl::OkStatus();
  const uint64_t wanted_bytes = file_bytes_ - existing_bytes_;
  if (block_device_) {
    return UsageError(absl::StrCat("--file_bytes, ", file_bytes_, ", is more than ", path_,
                                   " holds, ", existing_bytes_));
  }
  struct statvfs space;
  if (statvfs(exists_ ? path_.c_str() : ParentOf(path_).c_str(), &space) != 0) {
    return CannotUse(path_, errno);
  }
  const uint64_t free_bytes = uint64_t{space.f_bavail} * space.f_frsize;
  if (wanted_bytes <= free_bytes) return absl::OkStatus();
  return UsageError(absl::StrCat("--file_bytes, ", file_bytes_, ", needs ", wanted_bytes,
                                 " bytes where ", free_bytes, " are free"));
}

absl::Status PageFile::CheckAlignment() const {
  if (!direct_) return absl::OkStatus();
  absl::StatusOr<std::shared_ptr<io::File>> file =
      io::File::Open(path_, {.read_only = true, .direct = io::File::DirectIo::kRequire});
  if (!file.ok()) return file.status();
  const uint32_t needed_bytes =
      std::max((*file)->alignment().offset_bytes, (*file)->alignment().memory_bytes);
  if (page_bytes_ % needed_bytes == 0) return absl::OkStatus();
  return UsageError(absl::StrCat("--page_bytes, ", page_bytes_, ", is less than the ", needed_bytes,
                                 " bytes that direct I/O on ", path_, " works in"));
}

absl::Status PageFile::LookForPattern() const {
  constexpr uint64_t kSamples = 64;
  const uint64_t sectors = std::min(existing_bytes_, file_bytes_) / kPatternSectorBytes;
  if (sectors == 0) return absl::OkStatus();  // nothing is there that could be wrong
  const int descriptor = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return CannotUse(path_, errno);
  const absl::Cleanup closer = [descriptor] { close(descriptor); };
  alignas(8) std::byte sector[kPatternSectorBytes];
  for (uint64_t i = 0; i < kSamples; ++i) {
    const uint64_t at = sectors * i / kSamples * kPatternSectorBytes;
    if (absl::Status status = ReadAll(descriptor, absl::MakeSpan(sector), at, path_);
        !status.ok()) {
      return status;
    }
    if (CheckPattern(sector, at).intact) return absl::OkStatus();
  }
  return UsageError(absl::StrCat(
      path_,
      " holds nothing that page_io wrote, and --operation=read may not change it; to have "
      "it overwritten use --operation=write --verify, or name a file that does not exist"));
}

absl::Status PageFile::Prepare() {
  if (exists_ && existing_bytes_ >= file_bytes_ && !rewrite_) return absl::OkStatus();
  absl::Status status = MakeAndFill();
  if (status.ok()) status = CheckAlignment();
  if (!status.ok() && !exists_) unlink(path_.c_str());
  return status;
}

absl::Status PageFile::MakeAndFill() {
  absl::StatusOr<std::shared_ptr<io::File>> opened =
      io::File::Open(path_, {.create = !exists_, .direct = io::File::DirectIo::kNever});
  if (!opened.ok()) return opened.status();
  io::File& file = **opened;
  if (existing_bytes_ < file_bytes_) {
    if (absl::Status status = Reserve(file.descriptor(), path_, file_bytes_); !status.ok()) {
      return status;
    }
  }
  const uint64_t begin = rewrite_ ? 0 : existing_bytes_;
  if (absl::Status status = FillRange(file.descriptor(), path_, begin, file_bytes_); !status.ok()) {
    return status;
  }
  if (absl::Status status = file.Sync(); !status.ok()) return status;
  // Advice: reads through the kernel's page cache shall not find what the filling left there.
  posix_fadvise(file.descriptor(), 0, 0, POSIX_FADV_DONTNEED);
  return absl::OkStatus();
}

absl::Status PageFile::ForEachPage(PageVisitor visit) const {
  const size_t chunk_bytes = std::max<size_t>(kChunkBytes, page_bytes_);
  const AlignedBuffer buffer = NewAlignedBuffer(chunk_bytes);
  const int flags = O_RDONLY | O_CLOEXEC | (direct_ ? O_DIRECT : 0);
  const int descriptor = open(path_.c_str(), flags);
  if (descriptor < 0)
    return io::ErrnoStatus(errno, absl::StrCat("opening ", path_, " to check it"));
  const absl::Cleanup closer = [descriptor] { close(descriptor); };
  for (uint64_t at = 0; at < file_bytes_; at += chunk_bytes) {
    const size_t length = static_cast<size_t>(std::min<uint64_t>(chunk_bytes, file_bytes_ - at));
    if (absl::Status status = ReadAll(descriptor, absl::MakeSpan(buffer.get(), length), at, path_);
        !status.ok()) {
      return status;
    }
    for (size_t inside = 0; inside < length; inside += page_bytes_) {
      const absl::Span<const std::byte> bytes(buffer.get() + inside, page_bytes_);
      if (absl::Status status = visit((at + inside) / page_bytes_, bytes); !status.ok()) {
        return status;
      }
    }
  }
  return absl::OkStatus();
}

absl::Status PageFile::LearnInto(PageLedger& ledger) const {
  if (rewrite_ || !exists_) {
    ledger.SetAll(kFirstSequence);
    return absl::OkStatus();
  }
  return ForEachPage([&ledger](uint64_t page, absl::Span<const std::byte> bytes) {
    return ledger.Learn(page, bytes);
  });
}

absl::Status PageFile::CheckAgainst(const PageLedger& ledger) const {
  return ForEachPage([&ledger](uint64_t page, absl::Span<const std::byte> bytes) {
    return ledger.Check(page, bytes);
  });
}

}  // namespace fixpool::benchmarks
