#include "benchmarks/support/bench_file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "benchmarks/support/bench_scale.h"
#include "benchmarks/verify_pattern.h"
#include "fixpool/io/error.h"

namespace fixpool::benchmarks {
namespace {

constexpr uint64_t kMib = uint64_t{1} << 20;

absl::Status Fill(int descriptor, const std::string& path, uint64_t size_bytes) {
  // Fails where the file system cannot reserve; then writing has to do.
  if (posix_fallocate(descriptor, 0, static_cast<off_t>(size_bytes)) == ENOSPC) {
    return io::ErrnoStatus(ENOSPC, absl::StrCat("making ", path));
  }
  std::vector<uint64_t> chunk(kMib / sizeof(uint64_t));
  const absl::Span<std::byte> bytes(reinterpret_cast<std::byte*>(chunk.data()), kMib);
  for (uint64_t at = 0; at < size_bytes; at += kMib) {
    WritePattern(bytes, at, 1);
    size_t done = 0;
    while (done < kMib) {
      const ssize_t n =
          pwrite(descriptor, bytes.data() + done, kMib - done, static_cast<off_t>(at + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return io::ErrnoStatus(errno, absl::StrCat("filling ", path));
      done += static_cast<size_t>(n);
    }
  }
  if (fdatasync(descriptor) != 0) return io::ErrnoStatus(errno, absl::StrCat("syncing ", path));
  posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);  // advice
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<BenchFile>> BenchFile::Make(uint64_t size_bytes) {
  std::string path = absl::StrCat(BenchDirectory(), "/fixpool_bench.XXXXXX");
  const int descriptor = mkostemp(path.data(), O_CLOEXEC);
  if (descriptor < 0) return io::ErrnoStatus(errno, absl::StrCat("making ", path));
  const absl::Cleanup closer = [descriptor] { close(descriptor); };
  std::unique_ptr<BenchFile> file(new BenchFile(std::move(path), size_bytes));
  if (absl::Status status = Fill(descriptor, file->path(), size_bytes); !status.ok()) return status;
  return file;
}

absl::StatusOr<BenchFile*> BenchFile::Shared() {
  static std::unique_ptr<BenchFile> shared;
  if (shared != nullptr) return shared.get();
  constexpr uint64_t kSizesBytes[] = {16 * kMib, 256 * kMib, 1024 * kMib};  // by BenchScale
  absl::StatusOr<std::unique_ptr<BenchFile>> made = Make(kSizesBytes[static_cast<size_t>(Scale())]);
  if (!made.ok()) return made.status();
  shared = *std::move(made);
  return shared.get();
}

BenchFile::~BenchFile() { unlink(path_.c_str()); }

}  // namespace fixpool::benchmarks
