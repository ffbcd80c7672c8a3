#include "fixpool/io/uring_probe.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/error.h"
#include "fixpool/io/sanitizer.h"

namespace fixpool::io {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(5);
constexpr size_t kProbeBytes = 4096;

// Anonymous memory that is given back only if the caller says that nobody uses it.
class ProbeBuffer {
 public:
  explicit ProbeBuffer(size_t size_bytes)
      : base_(mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0)),
        size_bytes_(size_bytes) {}
  ~ProbeBuffer() {
    if (base_ != MAP_FAILED) munmap(base_, size_bytes_);
  }
  ProbeBuffer(const ProbeBuffer&) = delete;
  ProbeBuffer& operator=(const ProbeBuffer&) = delete;

  bool valid() const { return base_ != MAP_FAILED; }
  void* base() const { return base_; }
  size_t size_bytes() const { return size_bytes_; }

 private:
  void* const base_;
  const size_t size_bytes_;
};

// More than a healthy device ever needs.
constexpr int kMaxAttempts = 100;

// The result of one read, or minus errno.
int ReadOnce(UringRing& ring, EngineLevel level, const File& file, const ProbeBuffer& buffer) {
  io_uring_sqe* sqe = ring.NextSqe();
  const auto length = static_cast<unsigned>(buffer.size_bytes());
  if (level == EngineLevel::kUringFixed) {
    io_uring_prep_read_fixed(sqe, file.descriptor(), buffer.base(), length, 0, 0);
  } else {
    io_uring_prep_read(sqe, file.descriptor(), buffer.base(), length, 0);
  }
  const int submitted = ring.Submit();
  if (submitted < 0) return submitted;
  Environment* const clock = Environment::Default();
  const Deadline deadline = clock->DeadlineAfter(kPatience);
  while (true) {
    if (ring.wants_polling()) ring.PollDevice();
    io_uring_cqe* cqe = nullptr;
    if (ring.PeekCqes(&cqe, 1) == 1) {
      const int result = cqe->res;
      ring.AdvanceCq(1);
      return result;
    }
    const int64_t left_ns = deadline.ns() - clock->NowNs();
    if (left_ns <= 0) return -ETIME;
    const int waited = ring.WaitForCompletions(1, left_ns);
    if (waited != 0 && waited != -EINTR && waited != -ETIME) return waited;
  }
}

int ReadRetrying(UringRing& ring, EngineLevel level, const File& file, const ProbeBuffer& buffer) {
  int result = 0;
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    result = ReadOnce(ring, level, file, buffer);
    if (result != -EINTR && result != -EAGAIN) break;
  }
  return result;
}

std::string NameOf(const RingExtras& extras) {
  return absl::StrCat(extras.sqpoll ? " with SQPOLL" : "", extras.iopoll ? " with IOPOLL" : "",
                      extras.registered_ring ? " by a registered descriptor" : "");
}

}  // namespace

absl::Status WithPollingAdvice(const absl::Status& status) {
  if (ErrnoOf(status) != EOPNOTSUPP) return status;
  return Reworded(status, status.code(),
                  absl::StrCat(status.message(),
                               "; to be polled (EngineOptions::iopoll) a file must be open for "
                               "direct I/O on a device with queues for polling (its "
                               "queue/io_poll in sysfs is 1; on NVMe set nvme.poll_queues at "
                               "boot); use an engine without iopoll for any other"));
}

absl::Status ProbeUring(EngineLevel level, const File& file, const RingExtras& extras) {
  const bool fixed = level == EngineLevel::kUringFixed;
  absl::StatusOr<std::unique_ptr<UringRing>> ring =
      UringRing::Create({.entries = 2, .buffer_slots = fixed ? 1u : 0u, .extras = extras});
  if (!ring.ok()) return ring.status();
  auto buffer = std::make_unique<ProbeBuffer>(
      std::max<size_t>(kProbeBytes, file.alignment().offset_bytes));
  if (!buffer->valid()) return ErrnoStatus(ENOMEM, "mmap of a page for the probe");
  if (fixed) {
    const absl::StatusOr<MemoryRegion> region =
        MemoryRegion::Create(buffer->base(), buffer->size_bytes());
    if (absl::Status status = (*ring)->SetBuffer(0, *region); !status.ok()) return status;
  }
  const int result = ReadRetrying(**ring, level, file, *buffer);
  if (result >= 0) return absl::OkStatus();
  if (result == -ETIME) {
    // The kernel may still write there, through a ring that may not be closed either.
    sanitizer::LeakedOnPurpose(buffer.release());
    sanitizer::LeakedOnPurpose(ring->release());
    return absl::DeadlineExceededError(
        absl::StrCat("probe: a read of ", file.path(), " through io_uring did not come back"));
  }
  const absl::Status refused =
      ErrnoStatus(-result, absl::StrCat("probe: ", fixed ? "READ_FIXED" : "READ", " of ",
                                        file.path(), " through io_uring", NameOf(extras)));
  return extras.iopoll ? WithPollingAdvice(refused) : refused;
}

}  // namespace fixpool::io
