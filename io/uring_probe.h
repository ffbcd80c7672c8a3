#ifndef FIXPOOL_IO_URING_PROBE_H_
#define FIXPOOL_IO_URING_PROBE_H_

#include "absl/status/status.h"
#include "fixpool/io/file.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/io/uring_ring.h"

namespace fixpool::io {

// `status` of a request on a ring with IOPOLL, with what to do about it if the file cannot be
// polled, which is EOPNOTSUPP.
absl::Status WithPollingAdvice(const absl::Status& status);

// Does one real read of the first bytes of `file` through a ring made for the purpose, at
// `level` (kUringFixed registers its page first, kUringPlain does not) and with these extras.
// Setting a ring up proves nothing: sandboxes and drivers have been seen that set up and then
// refuse every read. OK: data came back, or the file is empty. Else the errno's code, and which
// step failed. Waits at most five seconds for the read (DeadlineExceeded). Thread-safe.
absl::Status ProbeUring(EngineLevel level, const File& file, const RingExtras& extras = {});

// Likewise for joined transfers with fixed buffers: asks the kernel whether it knows READV_FIXED
// and WRITEV_FIXED, and does one real READV_FIXED of the first bytes of `file` into two pieces.
absl::Status ProbeJoinedFixed(const File& file);

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_URING_PROBE_H_
