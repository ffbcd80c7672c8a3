#ifndef FIXPOOL_IO_CHECK_H_
#define FIXPOOL_IO_CHECK_H_

#include "fixpool/io/require_cpp20.h"

#include <string>

#include "absl/base/optimization.h"
#include "absl/strings/string_view.h"

namespace fixpool::io {

// Writes file, line, condition and message to standard error and aborts.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition,
                              absl::string_view message);

}  // namespace fixpool::io

// Stays on in release builds: for what only a bug of this library, or an object that
// outlives what it came from, can cause. Whatever a caller, the kernel or a disk can cause
// is a Status instead. `message` is evaluated only on failure. Thread-safe.
#define FIXPOOL_CHECK(condition, message)                                         \
  do {                                                                            \
    if (ABSL_PREDICT_FALSE(!(condition))) {                                       \
      ::fixpool::io::CheckFailed(__FILE__, __LINE__, #condition, (message));      \
    }                                                                             \
  } while (false)

#endif  // FIXPOOL_IO_CHECK_H_
