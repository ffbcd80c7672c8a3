#include "fixpool/io/uring_ring.h"

#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

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

// A number that no other thread of the process has or will have. (Thread ids and addresses of
// thread-local variables come back when a thread is gone.)
uint64_t ThreadNumber() {
  static std::atomic<uint64_t> last{0};
  static constinit thread_local uint64_t number = 0;
  if (number == 0) number = last.fetch_add(1, std::memory_order_relaxed) + 1;
  return number;
}

std::string SetupName(uint32_t entries, const RingExtras& extras) {
  return absl::StrCat("io_uring_setup with ", entries, " entries", extras.sqpoll ? ", SQPOLL" : "",
                      extras.iopoll ? ", IOPOLL" : "");
}

}  // namespace

absl::StatusOr<std::unique_ptr<UringRing>> UringRing::Create(Options options) {
  auto ring = std::unique_ptr<UringRing>(new UringRing(options.extras));
  // The kernel's thread posts completions of a batch before it says that it took the batch off
  // the queue, so that requests which follow them need room beside it.
  const uint32_t entries = options.extras.sqpoll ? 2 * options.entries : options.entries;
  int result = ring->SetUp(entries);
  if (result < 0) {
    // About what a ring is charged: 64 + 2 * 16 + 4 bytes an entry.
    return SetupStatus(-result, SetupName(entries, options.extras), size_t{entries} * 100);
  }
  sanitizer::RingMapped();
  io_uring_ring_dontfork(&ring->ring_);
  if (options.buffer_slots > 0) {
    result = io_uring_register_buffers_sparse(&ring->ring_, options.buffer_slots);
    if (result < 0) {
      return SetupStatus(
          -result,
          absl::StrCat("io_uring_register of a table for ", options.buffer_slots, " buffers"),
          size_t{options.buffer_slots} * sizeof(void*));
    }
  }
  ring->has_file_table_ = options.file_slots > 0 &&
                          io_uring_register_files_sparse(&ring->ring_, options.file_slots) == 0;
  if (options.extras.registered_ring) {
    if (absl::Status status = ring->RegisterDescriptor(); !status.ok()) return status;
  }
  return ring;
}

int UringRing::SetUp(uint32_t entries) {
  const unsigned asked =
      (extras_.sqpoll ? IORING_SETUP_SQPOLL : 0u) | (extras_.iopoll ? IORING_SETUP_IOPOLL : 0u);
  int result = -EINVAL;
  // Second, for a kernel, or a sandbox, that does not know the flags that we would like.
  for (const unsigned liked : {kSetupFlags, 0u}) {
    io_uring_params params{};
    params.flags = asked | liked;
    params.sq_thread_idle = extras_.sqpoll ? extras_.sqpoll_idle_ms : 0;
    result = io_uring_queue_init_params(entries, &ring_, &params);
    if (result != -EINVAL) break;
  }
  if (result < 0) ring_.ring_fd = -1;
  return result;
}

absl::Status UringRing::RegisterDescriptor() {
  io_uring_rsrc_update update{};
  update.offset = ~0u;  // any index that is free
  update.data = static_cast<unsigned>(ring_.ring_fd);
  if (syscall(__NR_io_uring_register, ring_.ring_fd, IORING_REGISTER_RING_FDS, &update, 1) != 1) {
    return ErrnoStatus(errno, "io_uring_register of the ring's own descriptor");
  }
  registered_index_ = static_cast<int>(update.offset);
  registered_thread_ = ThreadNumber();
  registered_tid_ = gettid();
  return absl::OkStatus();
}

bool UringRing::on_registered_thread() const {
  return registered_index_ >= 0 && registered_thread_ == ThreadNumber();
}

bool UringRing::HeldByAnotherThread() const {
  if (registered_index_ < 0 || on_registered_thread()) return false;
  // With a thread ends what it registered.
  return syscall(__NR_tgkill, getpid(), registered_tid_, 0) == 0 || errno != ESRCH;
}

UringRing::~UringRing() {
  if (ring_.ring_fd < 0) return;
  // The kernel takes a closed ring apart some time later; until then its file table would
  // keep the files, and their locks.
  if (has_file_table_) io_uring_unregister_files(&ring_);
  if (on_registered_thread()) {
    io_uring_rsrc_update update{};
    update.offset = static_cast<unsigned>(registered_index_);
    syscall(__NR_io_uring_register, ring_.ring_fd, IORING_UNREGISTER_RING_FDS, &update, 1);
  }
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
    return ErrnoStatus(error, what +
                                  ": the memory must be mapped and writable, and not a "
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

int UringRing::Enter(unsigned wait_for, unsigned flags, unsigned submit,
                     io_uring_getevents_arg* argument) {
  int descriptor = ring_.ring_fd;
  if (on_registered_thread()) {
    descriptor = registered_index_;
    flags |= IORING_ENTER_REGISTERED_RING;
  }
  enters_.fetch_add(1, std::memory_order_relaxed);
  const long result = syscall(__NR_io_uring_enter, descriptor, submit, wait_for, flags, argument,
                              argument == nullptr ? size_t{0} : sizeof(*argument));
  return result < 0 ? -errno : static_cast<int>(result);
}

// What liburing does on the way into the kernel, without going there.
void UringRing::Publish() {
  io_uring_sq& queue = ring_.sq;
  for (; queue.sqe_head != queue.sqe_tail; ++queue.sqe_head) {
    const unsigned place = queue.sqe_head & *queue.kring_mask;
    if (queue.array != nullptr) queue.array[place] = place;  // newer ones do without
  }
  io_uring_smp_store_release(queue.ktail, queue.sqe_tail);
}

bool UringRing::PollingThreadSleeps() const {
  return (io_uring_smp_load_acquire(ring_.sq.kflags) & IORING_SQ_NEED_WAKEUP) != 0;
}

int UringRing::Submit() {
  if (!extras_.sqpoll) {
    Publish();
    return Enter(0, 0, io_uring_sq_ready(&ring_));
  }
  if (PollingThreadSleeps()) {
    const int woken = Enter(0, IORING_ENTER_SQ_WAKEUP);
    if (woken < 0) return woken;
  }
  const int count = static_cast<int>(unsubmitted());
  Publish();
  // It says that it goes to sleep and then looks once more; we tell it and then look whether it
  // sleeps. One of us sees the other.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  // Whether this succeeds or not, it has the requests now. Who waits wakes it as well.
  if (PollingThreadSleeps()) Enter(0, IORING_ENTER_SQ_WAKEUP);
  return count;
}

uint32_t UringRing::unsubmitted() const {
  if (extras_.sqpoll) return ring_.sq.sqe_tail - ring_.sq.sqe_head;
  return io_uring_sq_ready(&ring_);
}

void UringRing::WaitForRoom() {
  while (extras_.sqpoll && !HasRoom()) {
    if (Enter(0, IORING_ENTER_SQ_WAIT | IORING_ENTER_SQ_WAKEUP) < 0) return;
  }
}

uint64_t UringRing::TakeBackNewest() {
  io_uring_sq& queue = ring_.sq;
  --queue.sqe_tail;
  if (!extras_.sqpoll) {
    // The kernel looks at the tail only inside io_uring_enter, which is not running: moving
    // it back is safe. (With SQPOLL it is not, and what is unsubmitted is not published.)
    *queue.ktail = queue.sqe_tail;
    queue.sqe_head = queue.sqe_tail;
  }
  return queue.sqes[queue.sqe_tail & *queue.kring_mask].user_data;
}

int UringRing::WaitForCompletions(size_t count, int64_t timeout_ns) {
  __kernel_timespec timeout{};
  io_uring_getevents_arg argument{};
  if (timeout_ns >= 0) {
    timeout.tv_sec = timeout_ns / 1'000'000'000;
    timeout.tv_nsec = timeout_ns % 1'000'000'000;
    argument.ts = reinterpret_cast<uintptr_t>(&timeout);
  }
  unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
  // Not for nothing: woken, it looks at an empty queue until its idle time is over.
  const bool queued =
      io_uring_smp_load_acquire(ring_.sq.ktail) != io_uring_smp_load_acquire(ring_.sq.khead);
  if (extras_.sqpoll && queued && PollingThreadSleeps()) flags |= IORING_ENTER_SQ_WAKEUP;
  const int result = Enter(static_cast<unsigned>(count), flags, 0, &argument);
  return result < 0 ? result : 0;
}

int UringRing::VectoredFixedErrno() {
  io_uring_probe* const probe = io_uring_get_probe_ring(&ring_);
  if (probe == nullptr) return EOPNOTSUPP;
  const bool both = io_uring_opcode_supported(probe, kReadvFixed) != 0 &&
                    io_uring_opcode_supported(probe, kWritevFixed) != 0;
  io_uring_free_probe(probe);
  return both ? 0 : EOPNOTSUPP;
}

void UringRing::PollDevice() { Enter(0, IORING_ENTER_GETEVENTS); }

}  // namespace fixpool::io
