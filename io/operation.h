#ifndef FIXPOOL_IO_OPERATION_H_
#define FIXPOOL_IO_OPERATION_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "fixpool/io/file_table.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/joined_memory.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::io {

// What an engine keeps of one accepted request, from Submit until Reap.
struct Operation {
  IoRequest request;
  RegionLease lease;               // held while the kernel may touch the memory
  JoinedMemory* joined = nullptr;  // of a joined transfer: its memory, instead of a lease
  uint32_t transferred_bytes = 0;
  uint32_t retries = 0;    // EINTR and EAGAIN in a row
  int error_number = 0;    // of the whole request, set by Advance
  absl::Status status;     // the same for the user, set by Conclude
  uint32_t next = 0;       // in the free list, or in an OperationList
  bool fixed = false;      // goes out as READ_FIXED / WRITE_FIXED, or their vectored kin
  bool in_kernel = false;  // exactly one kernel request is out for it

  uint32_t remaining_bytes() const { return request.length_bytes - transferred_bytes; }
  // The memory that is not transferred yet is in several stretches.
  bool vectored() const { return joined != nullptr && joined->remaining().size() > 1; }
  // If it is one: its beginning.
  std::byte* remaining_data() const {
    if (joined != nullptr) return static_cast<std::byte*>(joined->remaining().front().iov_base);
    return static_cast<std::byte*>(request.data) + transferred_bytes;
  }
  // The index, for the kernel, of the registered buffer that all of it lies in. Of fixed ones.
  uint16_t buffer_slot() const { return joined != nullptr ? joined->slot() : lease.slot(); }
  uint64_t remaining_offset() const { return request.offset_bytes + transferred_bytes; }
};

// RWF_ATOMIC (linux/fs.h, Linux 6.11), which Debian 12's headers do not have yet.
inline constexpr int kWriteAtomically = 0x00000040;

// What to do after the kernel answered.
enum class Progress { kFinished, kAgain };

// Books the kernel's `result` (bytes, or minus errno) for `operation` on `file`, which has
// the alignment that tells a short read at the end of a direct file from one to resume.
Progress Advance(Operation& operation, const File& file, int result, EngineCounters& counters);

// Tells ThreadSanitizer that the kernel has transferred the next `result` bytes of `operation`, if
// that is more than 0. To be called before Advance.
void AnnotateTransfer(Operation& operation, int result);

// A fixed number of operations, some of which may have several pieces of memory at a time, and
// which of them are free. Thread-compatible.
class OperationPool {
 public:
  static constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();

  explicit OperationPool(uint32_t depth, uint32_t joined_depth = 0);

  // An operation for such a request; kNone if all are taken, or all memory for joined ones. (If
  // there never was any, an operation that Admit refuses.)
  uint32_t Take(const IoRequest& request);
  void Return(uint32_t index);
  Operation& operator[](uint32_t index) { return operations_[index]; }
  uint32_t size() const { return static_cast<uint32_t>(operations_.size()); }
  uint32_t taken() const { return taken_; }
  uint32_t joined_depth() const { return static_cast<uint32_t>(joined_.size()); }

 private:
  std::vector<Operation> operations_;
  std::vector<JoinedMemory> joined_;
  std::vector<JoinedMemory*> free_joined_;
  uint32_t free_ = 0;
  uint32_t taken_ = 0;
};

// A queue of operations of one pool, linked through Operation::next. Thread-compatible.
class OperationList {
 public:
  bool empty() const { return head_ == OperationPool::kNone; }
  void PushBack(OperationPool& pool, uint32_t index);
  uint32_t PopFront(OperationPool& pool);

 private:
  uint32_t head_ = OperationPool::kNone;
  uint32_t tail_ = OperationPool::kNone;
};

// How transfers go out, as far as that is the engine's and not the file's or the region's.
struct TransferMeans {
  EngineLevel level = EngineLevel::kThreads;
  bool joined_fixed = false;  // READV_FIXED and WRITEV_FIXED work
};
inline TransferMeans MeansOf(const EngineReport& report) {
  return {.level = report.level, .joined_fixed = report.joined_fixed.in_force};
}

// Checks `request` against its file and takes the leases on its regions into `operation`, which
// was taken for it; OK means that the operation may go out.
absl::Status Admit(FixedBufferRegistry& registry, FileTable& files, const TransferMeans& means,
                   const IoRequest& request, Operation& operation);

// Counts an admitted operation by its kind.
void Count(const Operation& operation, EngineCounters& counters);

// For an operation that Advance called finished (or that never reached the kernel, with
// error_number set): makes its status, gives the lease back and lets go of the file.
void Conclude(Operation& operation, FileTable& files);

// The completion that the user gets for a concluded operation.
void FillCompletion(Operation& operation, IoCompletion& completion);

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_OPERATION_H_
