#include "fixpool/arena/kernel_text.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "fixpool/io/error.h"

namespace fixpool::arena {
namespace {

class Descriptor {
 public:
  explicit Descriptor(const std::string& path) : value_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~Descriptor() {
    if (value_ >= 0) close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int value() const { return value_; }

 private:
  const int value_;
};

}  // namespace

absl::Status ForEachKernelLine(const std::string& path,
                               absl::FunctionRef<bool(absl::string_view)> line) {
  const Descriptor file(path);
  if (file.value() < 0) return io::ErrnoStatus(errno, absl::StrCat("open of ", path));
  std::string pending;  // the beginning of a line whose end is not read yet
  char block[4096];
  while (true) {
    const ssize_t got = read(file.value(), block, sizeof(block));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io::ErrnoStatus(errno, absl::StrCat("read of ", path));
    if (got == 0) break;
    pending.append(block, static_cast<size_t>(got));
    size_t begin = 0;
    for (size_t end; (end = pending.find('\n', begin)) != std::string::npos; begin = end + 1) {
      if (!line(absl::string_view(pending).substr(begin, end - begin))) return absl::OkStatus();
    }
    pending.erase(0, begin);
  }
  if (!pending.empty()) line(pending);
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadKernelLine(const std::string& path) {
  std::optional<std::string> first;
  const absl::Status status = ForEachKernelLine(path, [&first](absl::string_view line) {
    first.emplace(line);
    return false;
  });
  if (!status.ok()) return status;
  if (!first.has_value()) return absl::DataLossError(absl::StrCat(path, " is empty"));
  return *std::move(first);
}

absl::StatusOr<uint64_t> ReadKernelNumber(const std::string& path) {
  absl::StatusOr<std::string> line = ReadKernelLine(path);
  if (!line.ok()) return line.status();
  uint64_t number = 0;
  if (!absl::SimpleAtoi(*line, &number)) {
    return absl::DataLossError(absl::StrCat(path, " holds \"", *line, "\", which is no number"));
  }
  return number;
}

}  // namespace fixpool::arena
