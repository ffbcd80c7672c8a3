#include "fixpool/io/uring_ring.h"

#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "fixpool/io/error.h"
#include "fixpool/io/memlock.h"
#include "fixpool/io/sanitizer.h"

namespace fixpool::io {
namespace {

// A bad entry fails by itself and does not hold up those behind it (Linux 5.18).
constexpr unsigned kSetupFlags = IORING_SETUP_SUBMIT_ALL;

// liburing knows these from 2.8 and 2.9 on; Debian 12 has 2.3. (linux/io_uring.h, 6.13)
constexpr unsigned kRegisterCloneBuffers = 30;  // IORING_REGISTER_CLONE_BUFFERS
constexpr uint32_t kDestinationReplace = 2;     // IORING_REGISTER_DST_REPLACE
struct CloneBuffersArgument {
  uint32_t source_descriptor;
  uint32_t flags;
  uint32_t source_offset;
  uint32_t destination_offset;
  uint32_t count;
  uint32_t reserved[3];
};

absl::Status SetupStatus(int error, absl::string_view what, size_t wanted_bytes) {
  if (error != ENOMEM) return ErrnoStatus(error, what);
  return ErrnoStatus(error, absl::StrCat(what, ": ", MemlockAdvice(wanted_bytes)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<UringRing>> UringRing::Create(Options options) {
  auto ring = std::unique_ptr<UringRing>(new UringRing());
  ring->ring_.ring_fd = -1;
  io_uring_params params{};
  params.flags = kSetupFlags;
  int result = io_uring_queue_init_params(options.entries, &ring->ring_, &params);
  if (result == -EINVAL) {  // a kernel, or a sandbox, that knows no flags
    params = {};
    result = io_uring_queue_init_params(options.entries, &ring->ring_, &params);
  }
  if (result < 0) {
    ring->ring_.ring_fd = -1;
    // About what a ring is charged: 64 + 2 * 16 + 4 bytes an entry.
    return SetupStatus(-result, absl::StrCat("io_uring_setup with ", options.entries, " entries"),
                       size_t{options.entries} * 100);
  }
  sanitizer::RingMapped();
  io_uring_ring_dontfork(&ring->ring_);
  if (options.buffer_slots > 0) {
    result = io_uring_register_buffers_sparse(&ring->ring_, options.buffer_slots);
    if (result < 0) {
      return SetupStatus(-result,
                         absl::StrCat("io_uring_register of a table for ", options.buffer_slots,
                                      " buffers"),
                         size_t{options.buffer_slots} * sizeof(void*));
    }
  }
  ring->has_file_table_ =
      options.file_slots > 0 &&
      io_uring_register_files_sparse(&ring->ring_, options.file_slots) == 0;
  return ring;
}

UringRing::~UringRing() {
  if (ring_.ring_fd < 0) return;
  // The kernel takes a closed ring apart some time later; until then its file table would
  // keep the files, and their locks.
  if (has_file_table_) io_uring_unregister_files(&ring_);
  sanitizer::RingToBeUnmapped();
  io_uring_queue_exit(&ring_);
}

absl::Status UringRing::SetBuffer(uint16_t slot, const MemoryRegion& region) {
  const iovec buffer{.iov_base = region.base(), .iov_len = region.size_bytes()};
  const __u64 tag = 0;
  const int result = io_uring_register_buffers_update_tag(&ring_, slot, &buffer, &tag, 1);
  if (result == 1) return absl::OkStatus();
  const int error = result < 0 ? -result : EIO;  // the kernel counts what it updated
  const std::string what = absl::StrFormat("registering %u bytes at %p as buffer %u",
                                           region.size_bytes(), region.base(), slot);
  if (error == EFAULT) {
    return ErrnoStatus(error, what + ": the memory must be mapped and writable, and not a "
                                     "shared mapping of a file");
  }
  return SetupStatus(error, what, region.size_bytes());
}

absl::Status UringRing::ClearBuffer(uint16_t slot) {
  const iovec empty{.iov_base = nullptr, .iov_len = 0};
  const __u64 tag = 0;
  const int result = io_uring_register_buffers_update_tag(&ring_, slot, &empty, &tag, 1);
  if (result == 1) return absl::OkStatus();
  return ErrnoStatus(result < 0 ? -result : EIO, absl::StrCat("clearing registered buffer ", slot));
}

absl::Status UringRing::CloneBuffers(int source, uint16_t first, uint32_t count) {
  CloneBuffersArgument argument{.source_descriptor = static_cast<uint32_t>(source),
                                .flags = kDestinationReplace,
                                .source_offset = first,
                                .destination_offset = first,
                                .count = count,
                                .reserved = {}};
  if (syscall(__NR_io_uring_register, ring_.ring_fd, kRegisterCloneBuffers, &argument, 1) == 0) {
    return absl::OkStatus();
  }
  // EINVAL is how a kernel says that it does not know an operation or a flag.
  const int error = errno == EINVAL ? EOPNOTSUPP : errno;
  return ErrnoStatus(error, absl::StrCat("sharing ", count, " registered buffers from slot ", first,
                                         " on with another ring"));
}

absl::Status UringRing::SetFile(uint16_t slot, int descriptor) {
  const int result = io_uring_register_files_update(&ring_, slot, &descriptor, 1);
  if (result == 1) return absl::OkStatus();
  return ErrnoStatus(result < 0 ? -result : EIO, absl::StrCat("registering file slot ", slot));
}

absl::Status UringRing::ClearFile(uint16_t slot) { return SetFile(slot, -1); }

int UringRing::Submit() { return io_uring_submit(&ring_); }

uint32_t UringRing::unsubmitted() const { return io_uring_sq_ready(&ring_); }

uint64_t UringRing::TakeBackNewest() {
  // Without SQPOLL the kernel looks at the tail only inside io_uring_enter, which is not
  // running: moving it back is safe.
  io_uring_sq& queue = ring_.sq;
  --queue.sqe_tail;
  *queue.ktail = queue.sqe_tail;
  queue.sqe_head = queue.sqe_tail;
  return queue.sqes[queue.sqe_tail & *queue.kring_mask].user_data;
}

int UringRing::WaitForCompletion(int64_t timeout_ns) {
  __kernel_timespec timeout{};
  io_uring_getevents_arg argument{};
  if (timeout_ns >= 0) {
    timeout.tv_sec = timeout_ns / 1'000'000'000;
    timeout.tv_nsec = timeout_ns % 1'000'000'000;
    argument.ts = reinterpret_cast<uintptr_t>(&timeout);
  }
  const long result =
      syscall(__NR_io_uring_enter, ring_.ring_fd, 0, 1,
              IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &argument, sizeof(argument));
  return result < 0 ? -errno : 0;
}

}  // namespace fixpool::io
