#include "tests/support/slow_pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace fixpool::tests {
namespace {

struct Ends {
  std::shared_ptr<io::File> file;
  int other;
};

[[noreturn]] void Die(const char* what) {
  std::perror(what);
  std::abort();
}

Ends MakePipe(int file_end, int flags) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) Die("pipe2");
  if (flags != 0 && fcntl(ends[file_end], F_SETFL, flags) != 0) Die("fcntl");
  return {*io::File::Adopt(ends[file_end], "slow pipe"), ends[1 - file_end]};
}

}  // namespace

SlowPipe SlowPipe::ToReadFrom(int flags) {
  Ends ends = MakePipe(0, flags);
  return SlowPipe(std::move(ends.file), ends.other);
}

SlowPipe SlowPipe::ToWriteTo(int flags) {
  Ends ends = MakePipe(1, flags);
  return SlowPipe(std::move(ends.file), ends.other);
}

SlowPipe::SlowPipe(SlowPipe&& other) noexcept
    : file_(std::move(other.file_)), other_end_(std::exchange(other.other_end_, -1)) {}

SlowPipe::~SlowPipe() { Close(); }

void SlowPipe::Close() {
  if (other_end_ >= 0) close(std::exchange(other_end_, -1));
}

void SlowPipe::Feed(const std::string& bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = write(other_end_, bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno != EINTR) Die("write to a pipe");
    if (count > 0) done += static_cast<size_t>(count);
  }
}

std::string SlowPipe::Drink(size_t size_bytes) {
  std::string bytes(size_bytes, '\0');
  size_t done = 0;
  while (done < size_bytes) {
    const ssize_t count = read(other_end_, bytes.data() + done, size_bytes - done);
    if (count == 0 || (count < 0 && errno != EINTR)) Die("read from a pipe");
    if (count > 0) done += static_cast<size_t>(count);
  }
  return bytes;
}

}  // namespace fixpool::tests
