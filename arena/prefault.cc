#include "fixpool/arena/prefault.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "fixpool/io/thread.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace fixpool::arena {
namespace {

constexpr uint32_t kMaxThreads = 16;
constexpr size_t kBytesPerThread = size_t{64} << 20;
// What a thread takes at a time: large against the cost of a system call, small against what
// one thread would otherwise do alone at the end.
constexpr size_t kChunkBytes = size_t{8} << 20;
// EAGAIN is how the kernel says that it lost a race; it does not do so for ever.
constexpr int kMaxAttempts = 100;

uint32_t CpuCount() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return 1;  // more CPUs than a cpu_set_t holds: rare, and one thread is only slower
}

int PopulateChunk(std::byte* base, size_t size_bytes, size_t page_bytes) {
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    if (madvise(base, size_bytes, MADV_POPULATE_WRITE) == 0) return 0;
    if (errno == EINVAL) return TouchThroughKernel(base, size_bytes, page_bytes);
    if (errno != EINTR && errno != EAGAIN) return errno;
  }
  return EAGAIN;
}

// The work, shared by the threads: each takes the next chunk until there is none.
class Job {
 public:
  explicit Job(const PrefaultRequest& request)
      : request_(request), chunk_bytes_(std::max(request.page_bytes, kChunkBytes)) {}

  void Work() {
    while (error_.load(std::memory_order_relaxed) == 0) {
      const size_t offset = next_.fetch_add(chunk_bytes_, std::memory_order_relaxed);
      if (offset >= request_.size_bytes) return;
      const size_t length = std::min(chunk_bytes_, request_.size_bytes - offset);
      const int error = PopulateChunk(request_.base + offset, length, request_.page_bytes);
      int none = 0;
      if (error != 0) error_.compare_exchange_strong(none, error, std::memory_order_relaxed);
    }
  }

  uint32_t ThreadCount() const {
    const size_t chunks = (request_.size_bytes + chunk_bytes_ - 1) / chunk_bytes_;
    size_t threads = request_.threads;
    if (threads == 0) {
      const size_t useful = std::max<size_t>(1, request_.size_bytes / kBytesPerThread);
      threads = std::min<size_t>({useful, CpuCount(), kMaxThreads});
    }
    return static_cast<uint32_t>(std::max<size_t>(1, std::min(threads, chunks)));
  }

  int error() const { return error_.load(std::memory_order_relaxed); }

 private:
  const PrefaultRequest request_;
  const size_t chunk_bytes_;
  std::atomic<size_t> next_{0};
  std::atomic<int> error_{0};
};

}  // namespace

int Prefault(const PrefaultRequest& request) {
  Job job(request);
  std::vector<io::Thread> helpers;
  const uint32_t thread_count = job.ThreadCount();
  helpers.reserve(thread_count);
  while (helpers.size() + 1 < thread_count) {
    absl::StatusOr<io::Thread> helper = io::Thread::Start("fixpool-fault", [&job] { job.Work(); });
    if (!helper.ok()) break;
    helpers.push_back(*std::move(helper));
  }
  job.Work();
  for (io::Thread& helper : helpers) helper.Join();
  return job.error();
}

int TouchThroughKernel(std::byte* base, size_t size_bytes, size_t page_bytes) {
  const int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  if (zero < 0) return errno;
  int error = 0;
  size_t offset = 0;
  while (offset < size_bytes && error == 0) {
    iovec bytes[256];
    int count = 0;
    for (size_t at = offset; at < size_bytes && count < 256; at += page_bytes) {
      bytes[count++] = {base + at, 1};
    }
    const ssize_t touched = readv(zero, bytes, count);
    if (touched > 0) {
      offset += static_cast<size_t>(touched) * page_bytes;  // one byte a page
    } else if (touched == 0) {
      error = EIO;  // not the /dev/zero that it should be
    } else if (errno != EINTR) {
      error = errno;
    }
  }
  close(zero);
  return error;
}

}  // namespace fixpool::arena
