#ifndef FIXPOOL_BENCHMARKS_SUPPORT_BENCH_FILE_H_
#define FIXPOOL_BENCHMARKS_SUPPORT_BENCH_FILE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace fixpool::benchmarks {

// A file for a benchmark to read and write: its space reserved, every byte written, on the
// disk and out of the kernel's page cache.
//
//   absl::StatusOr<BenchFile*> file = BenchFile::Shared();
//   io::File::Open((*file)->path(), {.direct = io::File::DirectIo::kRequire});
//
// Shape: a multiple of 1 MiB of bytes that do not repeat.
// Ownership: removed by the destructor; the shared one at the end of the program.
// Threads: immutable once made, so thread-safe.
class BenchFile {
 public:
  // In BenchDirectory(). The errno's code, with the path.
  static absl::StatusOr<std::unique_ptr<BenchFile>> Make(uint64_t size_bytes);

  // One for all benchmarks of the program, made at the first call: 16 MiB, 256 MiB or 1 GiB,
  // by Scale(). Not for two threads at once.
  static absl::StatusOr<BenchFile*> Shared();

  ~BenchFile();
  BenchFile(const BenchFile&) = delete;
  BenchFile& operator=(const BenchFile&) = delete;

  const std::string& path() const { return path_; }
  uint64_t size_bytes() const { return size_bytes_; }

 private:
  BenchFile(std::string path, uint64_t size_bytes)
      : path_(std::move(path)), size_bytes_(size_bytes) {}

  const std::string path_;
  const uint64_t size_bytes_;
};

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_SUPPORT_BENCH_FILE_H_
