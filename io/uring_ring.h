#ifndef FIXPOOL_IO_URING_RING_H_
#define FIXPOOL_IO_URING_RING_H_

#include "fixpool/io/require_cpp20.h"

#include <liburing.h>

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/io/memory_region.h"

namespace fixpool::io {

// One io_uring instance with its tables of buffers and files: system calls turned into
// Statuses, and nothing else. Kept out of forked children (MADV_DONTFORK).
// Threads: Enter may be called from several threads at once; the submission queue, the
// completion queue and the tables want one thread at a time each.
// Source: io_uring_setup(2), io_uring_register(2), io_uring_enter(2).
class UringRing {
 public:
  struct Options {
    uint32_t entries = 128;
    uint32_t buffer_slots = 0;  // 0: no buffer table
    uint32_t file_slots = 0;    // 0: no file table
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

  // Whether requests may name files by slot. (Where the kernel refused the table they name
  // them by descriptor.)
  bool has_file_table() const { return has_file_table_; }
  absl::Status SetFile(uint16_t slot, int descriptor);
  absl::Status ClearFile(uint16_t slot);

  // The next free submission entry, or null: as many as `entries` until Enter took them.
  io_uring_sqe* NextSqe() { return io_uring_get_sqe(&ring_); }

  // Hands everything prepared to the kernel. The number that it took, or minus errno.
  int Submit();
  // Prepared and not taken by the kernel.
  uint32_t unsubmitted() const;
  // Takes back the newest entry that the kernel did not take, and returns its user_data.
  // For when Submit failed for good. Requires unsubmitted() > 0 after a Submit.
  uint64_t TakeBackNewest();

  // Sleeps until a completion is there, for at most `timeout_ns` (< 0: no limit), or a
  // signal comes. 0 or minus errno (ETIME when time is up).
  int WaitForCompletion(int64_t timeout_ns);

  // Completions that are there, oldest first; AdvanceCq gives their places back.
  unsigned PeekCqes(io_uring_cqe** cqes, unsigned count) {
    return io_uring_peek_batch_cqe(&ring_, cqes, count);
  }
  void AdvanceCq(unsigned count) { io_uring_cq_advance(&ring_, count); }

 private:
  UringRing() = default;

  io_uring ring_{};
  bool has_file_table_ = false;
};

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_URING_RING_H_
