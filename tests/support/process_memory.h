#ifndef FIXPOOL_TESTS_SUPPORT_PROCESS_MEMORY_H_
#define FIXPOOL_TESTS_SUPPORT_PROCESS_MEMORY_H_

#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <string>

#include "gtest/gtest.h"

namespace fixpool::tests {

// Memory of this process as it is, read by the kernel: nothing orders the test after a transfer
// that was left behind, which ThreadSanitizer would rightly say of a plain read.
inline std::string BytesAsTheyAre(const void* data, size_t length_bytes) {
  std::string bytes(length_bytes, '?');
  const int descriptor = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(pread(descriptor, bytes.data(), length_bytes, reinterpret_cast<off_t>(data)),
            static_cast<ssize_t>(length_bytes));
  close(descriptor);
  return bytes;
}

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_SUPPORT_PROCESS_MEMORY_H_
