#ifndef FIXPOOL_IO_URING_RING_H_
#define FIXPOOL_IO_URING_RING_H_

#include <liburing.h>
#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/io/memory_region.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::io {

// Vectored transfers with a registered buffer, for io_uring_sqe::opcode: liburing knows these from
// 2.10 on, Debian 12 has 2.3. (linux/io_uring.h, 6.15)
inline constexpr uint8_t kReadvFixed = 60;   // IORING_OP_READV_FIXED
inline constexpr uint8_t kWritevFixed = 61;  // IORING_OP_WRITEV_FIXED

// What a ring does beyond the plain thing. EngineOptions tells what each is worth.
struct RingExtras {
  bool sqpoll = false;           // a thread of the kernel's takes requests off the queue
  uint32_t sqpoll_idle_ms = 10;  // for how long it looks at an empty queue before it sleeps
  bool iopoll = false;           // completions are looked for in the device
  bool registered_ring = false;  // the thread that makes the ring enters it by its index
};

// One io_uring instance with its tables of buffers and files: system calls turned into
// Statuses, and nothing else. Kept out of forked children (MADV_DONTFORK).
// Threads: waiting may be done by several threads at once; the submission queue, the
// completion queue and the tables want one thread at a time each.
//
// A registered descriptor is an index into a table that each thread has of its own (16
// places, IORING_REGISTER_RING_FDS): on another thread the same index is nothing, or, worse,
// another ring. So only the thread that made the ring enters it that way; all others use the
// descriptor. liburing would use the index everywhere and is not told of it. The index holds
// the ring open until it is given back, which only that thread can do, or until it ends.
//
// With SQPOLL the kernel's thread reads the queue's tail whenever it likes: what was
// published is the kernel's. So that requests can be taken back if the kernel cannot be
// reached, a sleeping thread is woken before they are published.
//
// Source: io_uring_setup(2), io_uring_register(2), io_uring_enter(2); io_uring/sqpoll.c,
// io_uring/tctx.c (Linux 6.18).
class UringRing {
 public:
  struct Options {
    uint32_t entries = 128;
    uint32_t buffer_slots = 0;  // 0: no buffer table
    uint32_t file_slots = 0;    // 0: no file table
    RingExtras extras = {};
  };

  // The errno's code; ENOMEM comes with the advice on RLIMIT_MEMLOCK.
  static absl::StatusOr<std::unique_ptr<UringRing>> Create(Options options);
  ~UringRing();
  UringRing(const UringRing&) = delete;
  UringRing& operator=(const UringRing&) = delete;

  absl::Status SetBuffer(uint16_t slot, const MemoryRegion& region);
  absl::Status ClearBuffer(uint16_t slot);
  // Makes `count` slots from `first` on what they are in the ring with descriptor `source`,
  // sharing its registration of the memory (Linux 6.13: IORING_REGISTER_CLONE_BUFFERS with
  // offsets and DST_REPLACE). Unimplemented: an older kernel.
  absl::Status CloneBuffers(int source, uint16_t first, uint32_t count);

  int descriptor() const { return ring_.ring_fd; }
  const RingExtras& extras() const { return extras_; }
  // Whether this thread's destroying the ring would leave it registered, and so open: another
  // thread registered it and still lives.
  bool HeldByAnotherThread() const;

  // Whether requests may name files by slot. (Where the kernel refused the table they name
  // them by descriptor.)
  bool has_file_table() const { return has_file_table_; }
  absl::Status SetFile(uint16_t slot, int descriptor);
  absl::Status ClearFile(uint16_t slot);

  // The next free submission entry, or null: at least `entries` until Submit took them, and
  // with SQPOLL until the kernel's thread did.
  io_uring_sqe* NextSqe() { return io_uring_get_sqe(&ring_); }
  // 0: the kernel says that it knows READV_FIXED and WRITEV_FIXED. Else the errno to give as the reason.
  int VectoredFixedErrno();
  bool HasRoom() const { return io_uring_sq_space_left(&ring_) > 0; }
  // With SQPOLL, sleeps until the kernel's thread made room; else there is nothing to wait for.
  void WaitForRoom();

  // Hands everything prepared to the kernel. The number that it took, or minus errno. With
  // SQPOLL, taken is what the kernel's thread can see.
  int Submit();
  // Prepared and not taken by the kernel.
  uint32_t unsubmitted() const;
  // Takes back the newest entry that the kernel did not take, and returns its user_data.
  // For when Submit failed for good. Requires unsubmitted() > 0 after a Submit.
  uint64_t TakeBackNewest();

  // Sleeps until `count` completions are there, for at most `timeout_ns` (< 0: no limit), or a
  // signal comes. 0 or minus errno (ETIME when time is up). With IOPOLL it spins in the
  // kernel, returns at once if nothing is there to be polled, and knows no time.
  int WaitForCompletions(size_t count, int64_t timeout_ns);
  // Whether nobody finds a completion unless he looks for it with PollDevice (or waits).
  bool wants_polling() const { return extras_.iopoll && !extras_.sqpoll; }
  // One look at the device, without waiting.
  void PollDevice();

  // With SQPOLL: the kernel's thread sleeps, and the next Submit wakes it.
  bool PollingThreadSleeps() const;

  // io_uring_enter calls so far.
  uint64_t enters() const { return enters_.load(std::memory_order_relaxed); }

  // Completions that are there, oldest first; AdvanceCq gives their places back.
  unsigned PeekCqes(io_uring_cqe** cqes, unsigned count) {
    return io_uring_peek_batch_cqe(&ring_, cqes, count);
  }
  void AdvanceCq(unsigned count) { io_uring_cq_advance(&ring_, count); }

 private:
  explicit UringRing(const RingExtras& extras) : extras_(extras) {}
  int SetUp(uint32_t entries);
  absl::Status RegisterDescriptor();
  bool on_registered_thread() const;
  int Enter(unsigned wait_for, unsigned flags, unsigned submit = 0,
            io_uring_getevents_arg* argument = nullptr);
  void Publish();

  const RingExtras extras_;
  io_uring ring_{};
  bool has_file_table_ = false;
  std::atomic<uint64_t> enters_{0};
  // Where the descriptor is registered, if it is: an index of the thread with this number.
  int registered_index_ = -1;
  uint64_t registered_thread_ = 0;
  pid_t registered_tid_ = 0;
};

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_URING_RING_H_
