#ifndef FIXPOOL_BENCHMARKS_PAGE_FILE_H_
#define FIXPOOL_BENCHMARKS_PAGE_FILE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "benchmarks/page_io_options.h"
#include "benchmarks/page_ledger.h"

namespace fixpool::benchmarks {

// The file that a run of page_io works on: what it is, and what has to be done to it before
// the clock runs.
//
//   absl::StatusOr<PageFile> file = PageFile::Inspect(options);      // changes nothing
//   absl::Status ready = file->Prepare();                            // may make, fill, rewrite
//   file->LearnInto(ledger);  ... run ...  file->CheckAgainst(ledger);   // --verify
//
// Shape: pages() pages of page_bytes() from the start of the file.
// Ownership: holds no descriptor between calls; the run opens the file by itself.
// Threads: thread-compatible.
// Errors: UsageError for what the command line should not have asked for: a directory, a size
// that the file system has no room for, a page smaller than the device's blocks. WrongDataError:
// see PageLedger. Else the errno's code, with the path.
class PageFile {
 public:
  static absl::StatusOr<PageFile> Inspect(const PageIoOptions& options);

  // Makes or lengthens the file, if it is to be, with space reserved and every byte of the
  // new part written; writes all of it anew for --verify with write or mixed. On stable
  // storage and out of the kernel's page cache afterwards. A file made here is removed again
  // on an error.
  absl::Status Prepare();

  // Sets in `ledger` what each page holds. Call after Prepare.
  absl::Status LearnInto(PageLedger& ledger) const;
  // Reads all pages, past the library, and compares them with `ledger`.
  absl::Status CheckAgainst(const PageLedger& ledger) const;

  const std::string& path() const { return path_; }
  uint64_t file_bytes() const { return file_bytes_; }
  uint32_t page_bytes() const { return page_bytes_; }
  uint64_t pages() const { return file_bytes_ / page_bytes_; }
  // Whether Prepare makes it.
  bool is_new() const { return !exists_; }

 private:
  using PageVisitor = absl::FunctionRef<absl::Status(uint64_t page, absl::Span<const std::byte>)>;

  PageFile() = default;
  absl::Status LookAt(const PageIoOptions& options);
  absl::Status LookForRoom() const;
  absl::Status LookForPattern() const;
  absl::Status CheckPermission() const;
  absl::Status CheckAlignment() const;
  absl::Status MakeAndFill();
  absl::Status ForEachPage(PageVisitor visit) const;

  std::string path_;
  bool exists_ = false;
  bool block_device_ = false;
  uint64_t existing_bytes_ = 0;
  uint64_t file_bytes_ = 0;  // whole pages, more than 0
  uint32_t page_bytes_ = 0;
  bool direct_ = true;
  bool writes_ = false;   // the run itself will write
  bool rewrite_ = false;  // fill all of it and not only what is missing
  bool verify_ = false;
};

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_PAGE_FILE_H_
