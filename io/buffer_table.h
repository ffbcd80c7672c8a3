#ifndef FIXPOOL_IO_BUFFER_TABLE_H_
#define FIXPOOL_IO_BUFFER_TABLE_H_

#include "fixpool/io/require_cpp20.h"

#include <cstdint>

#include "absl/status/status.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/memory_region.h"

namespace fixpool::io {

// The kernel's side of a FixedBufferRegistry: one ring's table of registered buffers.
// An engine implements it and attaches it; the registry alone calls it, one call at a
// time, and keeps the same slot numbers in every attached table.
// Threads: called by any thread, under the registry's lock.
class BufferTable {
 public:
  virtual ~BufferTable() = default;

  // Puts `region` into the empty `slot`. On any error the slot is empty as before.
  // ResourceExhausted, errno ENOMEM: RLIMIT_MEMLOCK. InvalidArgument/other with errno
  // EFAULT: the memory is not mapped, not writable, or of a kind that cannot be pinned.
  virtual absl::Status Set(uint16_t slot, const MemoryRegion& region) = 0;

  // The descriptor by which another table can take over what is registered here, without
  // registering it again; -1: it cannot.
  virtual int sharing_descriptor() const { return -1; }

  // Makes the slots [first, first + count) here the same as in the table with that
  // descriptor: one registration of the memory, charged to RLIMIT_MEMLOCK once, for all
  // rings. All of them or, on an error, none. Unimplemented: Set is the only way.
  virtual absl::Status Share(int descriptor, uint16_t first, uint32_t count) {
    static_cast<void>(descriptor), static_cast<void>(first), static_cast<void>(count);
    return absl::UnimplementedError("this table cannot share another's buffers");
  }

  // Empties `slot`. Nothing uses it: the registry has waited for that.
  virtual absl::Status Clear(uint16_t slot) = 0;

  // Takes in whatever the kernel has completed, so that leases are given back even if
  // no user of the engine ever reaps again; waits for the first one at most until
  // `deadline`. What was taken in stays with the engine for its users to reap.
  virtual void MakeProgress(Deadline deadline) = 0;
};

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_BUFFER_TABLE_H_
