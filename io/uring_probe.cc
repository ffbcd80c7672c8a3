#include "fixpool/io/uring_probe.h"

#include <sys/mman.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
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

// Where a probe reads to: a joined read to both, the other ones to the first.
using ProbePieces = std::array<iovec, 2>;

// More than a healthy device ever needs.
constexpr int kMaxAttempts = 100;

// The kinds of read that are tried.
enum class Trial { kPlain, kFixed, kJoinedFixed };

void PrepareRead(io_uring_sqe* sqe, Trial trial, const File& file, ProbePieces& pieces) {
  const iovec& first = pieces[0];
  switch (trial) {
    case Trial::kPlain:
      io_uring_prep_read(sqe, file.descriptor(), first.iov_base,
                         static_cast<unsigned>(first.iov_len), 0);
      break;
    case Trial::kFixed:
      io_uring_prep_read_fixed(sqe, file.descriptor(), first.iov_base,
                               static_cast<unsigned>(first.iov_len), 0, 0);
      break;
    case Trial::kJoinedFixed:
      io_uring_prep_readv(sqe, file.descriptor(), pieces.data(), pieces.size(), 0);
      sqe->opcode = kReadvFixed;
      sqe->buf_index = 0;
      break;
  }
}

// The result of one read, or minus errno.
int ReadOnce(UringRing& ring, Trial trial, const File& file, ProbePieces& pieces) {
  PrepareRead(ring.NextSqe(), trial, file, pieces);
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

int ReadRetrying(UringRing& ring, Trial trial, const File& file, ProbePieces& pieces) {
  int result = 0;
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    result = ReadOnce(ring, trial, file, pieces);
    if (result != -EINTR && result != -EAGAIN) break;
  }
  return result;
}

std::string NameOf(const RingExtras& extras) {
  return absl::StrCat(extras.sqpoll ? " with SQPOLL" : "", extras.iopoll ? " with IOPOLL" : "",
                      extras.registered_ring ? " by a registered descriptor" : "");
}

absl::string_view NameOf(Trial trial) {
  switch (trial) {
    case Trial::kPlain:
      return "READ";
    case Trial::kFixed:
      return "READ_FIXED";
    case Trial::kJoinedFixed:
      return "READV_FIXED";
  }
  return "?";
}

absl::Status Probe(Trial trial, const File& file, const RingExtras& extras) {
  const bool fixed = trial != Trial::kPlain;
  absl::StatusOr<std::unique_ptr<UringRing>> ring =
      UringRing::Create({.entries = 2, .buffer_slots = fixed ? 1u : 0u, .extras = extras});
  if (!ring.ok()) return ring.status();
  const size_t piece_bytes = std::max<size_t>(kProbeBytes, file.alignment().offset_bytes);
  auto buffer = std::make_unique<ProbeBuffer>(2 * piece_bytes);
  if (!buffer->valid()) return ErrnoStatus(ENOMEM, "mmap of pages for the probe");
  if (fixed) {
    const absl::StatusOr<MemoryRegion> region =
        MemoryRegion::Create(buffer->base(), buffer->size_bytes());
    if (absl::Status status = (*ring)->SetBuffer(0, *region); !status.ok()) return status;
  }
  // Not one after the other, which would be one piece.
  char* const base = static_cast<char*>(buffer->base());
  ProbePieces pieces = {iovec{base + piece_bytes, piece_bytes}, iovec{base, piece_bytes}};
  int result = trial == Trial::kJoinedFixed ? -(*ring)->VectoredFixedErrno() : 0;
  if (result == 0) result = ReadRetrying(**ring, trial, file, pieces);
  if (result >= 0) return absl::OkStatus();
  if (result == -ETIME) {
    // The kernel may still write there, through a ring that may not be closed either.
    sanitizer::LeakedOnPurpose(buffer.release());
    sanitizer::LeakedOnPurpose(ring->release());
    return absl::DeadlineExceededError(
        absl::StrCat("probe: a read of ", file.path(), " through io_uring did not come back"));
  }
  const absl::Status refused =
      ErrnoStatus(-result, absl::StrCat("probe: ", NameOf(trial), " of ", file.path(),
                                        " through io_uring", NameOf(extras)));
  return extras.iopoll ? WithPollingAdvice(refused) : refused;
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

absl::Status ProbeJoinedFixed(const File& file) { return Probe(Trial::kJoinedFixed, file, {}); }

absl::Status ProbeUring(EngineLevel level, const File& file, const RingExtras& extras) {
  return Probe(level == EngineLevel::kUringFixed ? Trial::kFixed : Trial::kPlain, file, extras);
}

}  // namespace fixpool::io
