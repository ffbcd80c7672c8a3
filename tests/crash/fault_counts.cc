#include "tests/crash/fault_counts.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

namespace fixpool::tests {
namespace {

constexpr size_t kMappedBytes = 4096;
static_assert(kCountedKinds * sizeof(std::atomic<uint64_t>) <= kMappedBytes);

}  // namespace

std::unique_ptr<FaultCounts> FaultCounts::Open(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor < 0) return nullptr;
  void* memory = MAP_FAILED;
  if (ftruncate(descriptor, kMappedBytes) == 0) {
    memory = mmap(nullptr, kMappedBytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  }
  const int error = errno;
  close(descriptor);
  errno = error;
  if (memory == MAP_FAILED) return nullptr;
  return std::unique_ptr<FaultCounts>(new FaultCounts(static_cast<Counter*>(memory)));
}

FaultCounts::~FaultCounts() { munmap(counters_, kMappedBytes); }

}  // namespace fixpool::tests
