#ifndef FIXPOOL_ARENA_KERNEL_TEXT_H_
#define FIXPOOL_ARENA_KERNEL_TEXT_H_

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::arena {

// The text files of /proc and /sys. All functions are thread-safe; errors are those of
// open(2) and read(2), with the path (see io::ErrnoStatus).

// Calls `line` with each line, without its newline, until it returns false. Reads 4 KiB at
// a time: of a file that the kernel makes up as it is read, no more is made than is needed.
absl::Status ForEachKernelLine(const std::string& path,
                               absl::FunctionRef<bool(absl::string_view)> line);

// The first line. DataLoss: the file is empty.
absl::StatusOr<std::string> ReadKernelLine(const std::string& path);

// The first line as a decimal number. DataLoss: it is none.
absl::StatusOr<uint64_t> ReadKernelNumber(const std::string& path);

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_KERNEL_TEXT_H_
