#ifndef FIXPOOL_IO_MEMLOCK_H_
#define FIXPOOL_IO_MEMLOCK_H_

#include "fixpool/io/require_cpp20.h"

#include <cstddef>
#include <string>

namespace fixpool::io {

// "wanted 1073741824 bytes of locked memory, RLIMIT_MEMLOCK is 8388608; raise it (ulimit -l,
// LimitMEMLOCK= in systemd) or give the process CAP_IPC_LOCK": what a refused registration
// should have said. Thread-safe.
std::string MemlockAdvice(size_t wanted_bytes);

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_MEMLOCK_H_
