#ifndef FIXPOOL_IO_OPERATION_H_
#define FIXPOOL_IO_OPERATION_H_

#include "fixpool/io/require_cpp20.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "absl/status/status.h"
#include "fixpool/io/file_table.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"

namespace fixpool::io {

// What an engine keeps of one accepted request, from Submit until Reap.
struct Operation {
  IoRequest request;
  RegionLease lease;            // held while the kernel may touch the memory
  uint32_t transferred_bytes = 0;
  uint32_t retries = 0;         // EINTR and EAGAIN in a row
  int error_number = 0;         // of the whole request, set by Advance
  absl::Status status;          // the same for the user, set by Conclude
  uint32_t next = 0;            // in the free list, or in an OperationList
  bool fixed = false;           // goes out as READ_FIXED / WRITE_FIXED
  bool in_kernel = false;       // exactly one kernel request is out for it

  uint32_t remaining_bytes() const { return request.length_bytes - transferred_bytes; }
  std::byte* remaining_data() const {
    return static_cast<std::byte*>(request.data) + transferred_bytes;
  }
  uint64_t remaining_offset() const { return request.offset_bytes + transferred_bytes; }
};

// What to do after the kernel answered.
enum class Progress { kFinished, kAgain };

// Books the kernel's `result` (bytes, or minus errno) for `operation` on `file`, which has
// the alignment that tells a short read at the end of a direct file from one to resume.
Progress Advance(Operation& operation, const File& file, int result, EngineCounters& counters);

// A fixed number of operations, and which of them are free. Thread-compatible.
class OperationPool {
 public:
  static constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();

  explicit OperationPool(uint32_t depth);

  // kNone if all are taken.
  uint32_t Take();
  void Return(uint32_t index);
  Operation& operator[](uint32_t index) { return operations_[index]; }
  uint32_t size() const { return static_cast<uint32_t>(operations_.size()); }
  uint32_t taken() const { return taken_; }

 private:
  std::vector<Operation> operations_;
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

// Checks `request` against its file and takes the lease on its region into `operation`; OK
// means that the operation may go out. `level` is the engine's.
absl::Status Admit(FixedBufferRegistry& registry, FileTable& files, EngineLevel level,
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
