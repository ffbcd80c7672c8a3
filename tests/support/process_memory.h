#ifndef FIXPOOL_TESTS_SUPPORT_PROCESS_MEMORY_H_
#define FIXPOOL_TESTS_SUPPORT_PROCESS_MEMORY_H_

#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <fstream>
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

// A number of /proc/self/status, "VmRSS:    1234 kB".
inline size_t StatusKib(const std::string& name) {
  std::ifstream status("/proc/self/status");
  std::string word;
  size_t kib = 0;
  while (status >> word) {
    if (word == name + ":" && status >> kib) return kib;
  }
  return 0;
}

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_SUPPORT_PROCESS_MEMORY_H_
