#ifndef FIXPOOL_TESTS_SUPPORT_SLOW_PIPE_H_
#define FIXPOOL_TESTS_SUPPORT_SLOW_PIPE_H_

#include <cstddef>
#include <memory>
#include <string>

#include "fixpool/io/file.h"

namespace fixpool::tests {

// A pipe with one end as a File: a transfer on it stays in flight until the test says so.
//
//   SlowPipe pipe = SlowPipe::ToReadFrom();   // engine->AddFile(pipe.file())
//   pipe.Feed("bytes");                       // now the read has something to return
//   SlowPipe sink = SlowPipe::ToWriteTo();
//   sink.Drink(4096);
//
// Thread-compatible.
class SlowPipe {
 public:
  static SlowPipe ToReadFrom(int flags = 0);
  static SlowPipe ToWriteTo(int flags = 0);
  ~SlowPipe();
  SlowPipe(SlowPipe&& other) noexcept;
  SlowPipe& operator=(SlowPipe&&) = delete;

  std::shared_ptr<io::File> file() const { return file_; }
  // Puts bytes in, all of them.
  void Feed(const std::string& bytes);
  // Takes exactly this many bytes out; waits for them.
  std::string Drink(size_t size_bytes);
  // Closes the test's end.
  void Close();

 private:
  SlowPipe(std::shared_ptr<io::File> file, int other_end)
      : file_(std::move(file)), other_end_(other_end) {}

  std::shared_ptr<io::File> file_;
  int other_end_;
};

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_SUPPORT_SLOW_PIPE_H_
