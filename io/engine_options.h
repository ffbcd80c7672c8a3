#ifndef FIXPOOL_IO_ENGINE_OPTIONS_H_
#define FIXPOOL_IO_ENGINE_OPTIONS_H_

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/time/time.h"
#include "fixpool/io/file.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::io {

// Whether a ring gets something that a machine may not have.
enum class RingExtra {
  kOff,
  kPrefer,   // where a real read through such a ring works; see EngineReport for whether it did
  kRequire,  // that, or an error
};

// How an engine is made; all kinds take the same options. A value: thread-compatible.
struct EngineOptions {
  // Requests in flight at most; 1 to 4096. Default: what keeps one NVMe drive busy.
  uint32_t depth = 128;
  // Of these, joined transfers at most; 0 to 4096. Each has 10 KiB of memory from the beginning.
  // Default: 32 MiB of 4 KiB pages, far more than keeps a drive busy with transfers as large.
  uint32_t joined_depth = 32;
  // Files at most; 1 to 4096.
  uint32_t max_files = 256;
  // This level or an error. Default: the best that works.
  std::optional<EngineLevel> require = std::nullopt;
  // Threads of EngineLevel::kThreads, 1 to 256; never more than `depth` are started.
  uint32_t threads = 16;
  // The file that the opening probe reads. Default: the running executable, which every
  // process has. (AddFile probes each file by itself.)
  std::shared_ptr<File> probe_file = nullptr;
  // How long the destructor waits for transfers in flight.
  absl::Duration drain_timeout = absl::Seconds(30);

  // Extras of the two io_uring levels, all off by default: each is worth something to some and
  // costs the others. docs/io_engines.md has more about them.

  // A thread of the kernel's takes requests off the queue (IORING_SETUP_SQPOLL). Buys: Submit
  // makes no system call while that thread is awake. Costs: the thread spins while there are
  // requests and for sqpoll_idle after the last, so a core for as long. For those who have a core
  // to spare and submit without pause; on two cores it takes one of them. Anybody may use it
  // since Linux 5.11. Default off: a library does not take a core without being asked.
  RingExtra sqpoll = RingExtra::kOff;
  // How long that thread looks at an empty queue before it sleeps; 1 ms to 10 s, in whole
  // milliseconds. The next Submit then wakes it, which costs a system call or two. Default: far
  // above the pauses between the requests of a busy pool, and no second of a core after each
  // lonely one, as the kernel's own default of 1 s would be.
  absl::Duration sqpoll_idle = absl::Milliseconds(10);
  // Completions are looked for in the device instead of being told of by an interrupt
  // (IORING_SETUP_IOPOLL). Buys: the interrupt of each transfer. Costs: whoever waits spins, and
  // past his deadline if the device is slow; a sync holds up its submitter; only files with direct
  // I/O on a device with queues for polling can be added. For fast NVMe drives set up for it;
  // probe_file should lie on one, and not be empty. Default off: few machines are set up so.
  RingExtra iopoll = RingExtra::kOff;
  // The thread that opens the engine enters the ring by an index instead of a descriptor
  // (IORING_REGISTER_RING_FDS, Linux 5.18). Buys: a shared reference count less in each system
  // call of that thread, if the process has several; nothing for other threads, which go on as
  // without. Costs: one of the thread's 16 such places. For engines that live and die on one
  // thread: destroyed elsewhere, the ring stays open until the thread that opened it ends, which
  // the environment is told of. Default off: rings belong to the pool, and not to threads.
  RingExtra registered_ring = RingExtra::kOff;
};

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_ENGINE_OPTIONS_H_
