#ifndef FIXPOOL_IO_IO_ENGINE_H_
#define FIXPOOL_IO_IO_ENGINE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/file.h"
#include "fixpool/io/region_id.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::io {

// How transfers reach the kernel, best first.
enum class EngineLevel {
  kUringFixed,  // io_uring, READ_FIXED / WRITE_FIXED on registered buffers
  kUringPlain,  // io_uring, READ / WRITE
  kThreads,     // pread / pwrite on a pool of threads
};
// "uring_fixed", "uring_plain", "threads".
absl::string_view EngineLevelName(EngineLevel level);

// A file's place in one engine's file table. Any bit pattern is safe: it names a file that
// was added and not removed since, or it is NotFound. A value.
class FileHandle {
 public:
  constexpr FileHandle() = default;
  constexpr FileHandle(uint16_t slot, uint32_t generation) : slot_(slot), generation_(generation) {}
  constexpr uint16_t slot() const { return slot_; }
  constexpr uint32_t generation() const { return generation_; }
  friend constexpr bool operator==(FileHandle, FileHandle) = default;

 private:
  uint16_t slot_ = 0;
  uint32_t generation_ = 0;  // 0 is never issued
};

enum class IoOperation : uint8_t { kRead, kWrite, kSync };

// One piece of the memory of a joined transfer.
struct IoPiece {
  RegionId region = {};  // that `data` lies in, or RegionId::kUnregistered
  void* data = nullptr;
  uint32_t length_bytes = 0;  // > 0
};
// How many pieces a request may have: 1 MiB of 4 KiB pages.
inline constexpr size_t kMaxPieces = 256;

// One transfer to do. Its memory belongs to the engine from the moment Submit accepts the
// request until its completion is reaped.
struct IoRequest {
  IoOperation operation = IoOperation::kRead;
  FileHandle file = {};
  // The region that `data` lies in, or RegionId::kUnregistered. Ignored by kSync.
  RegionId region = {};
  void* data = nullptr;
  uint32_t length_bytes = 0;  // > 0; of kSync: 0
  uint64_t offset_bytes = 0;
  uint64_t user_data = 0;  // returned as it is
  // If there are any, this is a joined transfer: one range of the file, and these pieces of
  // memory one after the other in place of `region` and `data`, which are ignored.
  // `length_bytes` is that of all together. With direct I/O each has the alignments of a transfer
  // by itself. Pieces that overlap are no error; what such a read leaves there is undefined. The
  // array is the caller's, and looked at by Submit alone.
  absl::Span<const IoPiece> pieces = {};
  // Of a write: a loss of power leaves all of it or nothing. The file has such writes
  // (File::atomic_write_unit_max); the length is a power of two from its unit_min to its unit_max,
  // the offset a multiple of it, and the memory, if joined, in no more stretches than
  // atomic_write_segments_max. Goes as a plain WRITE whatever the level, since the kernel refuses
  // RWF_ATOMIC with fixed buffers (EINVAL, Linux 6.18). If less is written than was asked for, that
  // is an error (EIO) and not continued.
  bool atomic = false;
};

// What became of one accepted request.
struct IoCompletion {
  uint64_t user_data = 0;
  // OK: everything asked for was transferred, or (reads only) the file ended first.
  // Else the errno's code, with operation, file, offset and length.
  absl::Status status;
  // Bytes transferred. Less than asked for only where the file ended; the bytes of the
  // buffer behind them are then undefined.
  uint32_t transferred_bytes = 0;
};

struct SubmitResult {
  // The first `accepted` requests are in flight; the others were not looked at, but for
  // the one that `status` is about.
  size_t accepted = 0;
  // OK, also if the engine was full before all were in. Else why request number
  // `accepted` was refused: a ValidationError, an unknown file, or a bad request.
  absl::Status status;
};

// Counted since the engine was opened.
struct EngineCounters {
  uint64_t fixed_transfers = 0;  // requests that went out as READ_FIXED / WRITE_FIXED
  uint64_t plain_transfers = 0;
  uint64_t joined_transfers = 0;  // of both: those of several pieces
  uint64_t atomic_transfers = 0;  // of the plain ones: IoRequest::atomic
  uint64_t syncs = 0;
  uint64_t resumed = 0;        // short transfers that were continued
  uint64_t retried = 0;        // EINTR, EAGAIN, and what was lost with a thread that exited
  uint64_t failed = 0;         // completions with an error
  uint64_t kernel_enters = 0;  // io_uring_enter calls, or pread/pwrite calls
  uint64_t peak_in_flight = 0;
};

// What became of one of the extras of EngineOptions (RingExtra).
struct RingExtraReport {
  bool asked = false;
  bool in_force = false;
  // Why not, if it was asked and is not: the errno (0: none), and a sentence.
  int error_number = 0;
  std::string reason = {};
};

// What an engine is, for statistics and for people.
struct EngineReport {
  EngineLevel level = EngineLevel::kThreads;
  // Why it is not a better level: the errno and a sentence; 0 and empty if it is the best.
  int downgrade_errno = 0;
  std::string downgrade_reason;
  uint32_t depth = 0;
  EngineCounters counters;
  RingExtraReport sqpoll;
  RingExtraReport iopoll;
  RingExtraReport registered_ring;
  // Whether joined transfers go out with fixed buffers (READV_FIXED, WRITEV_FIXED: Linux 6.15),
  // where all pieces lie in one region. Asked for at kUringFixed alone. Else they go as READV and
  // WRITEV, but for those whose pieces follow each other in memory.
  RingExtraReport joined_fixed;
  // "io: io_uring with fixed buffers, depth 128, sqpoll", and the reasons of downgrades.
  std::string ToString() const;
};

// What Report() answers in a forked child. For those who write an engine.
EngineReport RefusedReport(const absl::Status& refusal);

// Moves bytes between files and memory, many transfers at a time.
//
//   FileHandle file = *engine->AddFile(*File::Open("data.db"));
//   IoRequest read{.operation = IoOperation::kRead, .file = file, .region = id, .data = page,
//                  .length_bytes = 4096, .offset_bytes = 0, .user_data = 7};
//   SubmitResult submitted = engine->Submit({&read, 1});
//   IoCompletion done[1];
//   while (engine->Reap(absl::MakeSpan(done), Deadline::Infinite()) == 0) {}
//
// Shape: at most depth() requests are in flight or completed and not yet reaped. A request
// is at most 1 GiB and lies within one region; a joined one has up to kMaxPieces pieces, each
// within one region, and counts as one request, of which at most joined_depth() are of that
// kind. Every accepted request yields exactly one completion, in any order.
// Short transfers, EINTR and EAGAIN are resumed inside: a caller sees all of it or an error.
// Ownership: the engine keeps files alive while it may use them, and holds a lease on a
// request's region until the kernel is done. It must not outlive its registry.
// Threads: thread-safe. Any thread may submit, any thread may reap, and a completion goes to
// whoever reaps first. A reader is never stuck because the thread that submitted is gone.
// Nothing allocates in Submit and Reap unless there is an error to tell of.
// In a forked child whatever returns a Status answers FailedPrecondition, nothing is in flight
// and nothing can be reaped. The destructor there leaves the parent's ring, threads and memory
// alone; what the child has of them lasts until it ends.
class IoEngine {
 public:
  // Drains: waits for what is in flight, with a bound. Past it, memory that the kernel may
  // still write to stays leased for ever, the engine's own resources are leaked, and the
  // environment's sink is told. Completions that nobody reaped are lost.
  virtual ~IoEngine() = default;

  // Makes `file` known to the engine after doing one real read on it at the engine's level.
  // Unimplemented (errno payload): the file cannot be read that way, and the level was
  // required; else the file alone goes a level down, which LevelOf tells. ResourceExhausted:
  // the file table is full. InvalidArgument: null.
  virtual absl::StatusOr<FileHandle> AddFile(std::shared_ptr<File> file) = 0;
  // Forgets it, after waiting for what is in flight on it. DeadlineExceeded: still in
  // flight; the file stays. NotFound: no such file.
  virtual absl::Status RemoveFile(FileHandle file, Deadline deadline) = 0;
  // The level that transfers on this file have in fixed regions. NotFound.
  virtual absl::StatusOr<EngineLevel> LevelOf(FileHandle file) const = 0;

  // Puts the requests in flight, in order, as many as there is room for. Each is validated
  // (region, generation, bounds, alignments) and leases its region in one step.
  virtual SubmitResult Submit(absl::Span<const IoRequest> requests) = 0;

  // Takes up to completions.size() completions. Waits until there is one, the deadline has
  // passed, nothing is in flight any more, or another thread took what this one waited for:
  // then it returns 0, and the caller looks again at what it wanted. Deadline::Past() polls.
  virtual size_t Reap(absl::Span<IoCompletion> completions, Deadline deadline) = 0;
  // The same for who would rather wake up less often: if it has to wait, then for `wanted` at
  // once, of as many as are in flight. Still returns fewer at the deadline, or for no reason.
  virtual size_t ReapSeveral(absl::Span<IoCompletion> completions, Deadline deadline,
                             size_t /*wanted*/) {
    return Reap(completions, deadline);
  }

  // For who waits with poll(2) and its like: a descriptor that is readable while there is something
  // to reap, and may be a little longer. It is the engine's and lives as long; nobody reads from it
  // or closes it. While another thread waits in Reap it may be readable with nothing left to reap.
  // What the kernel had no memory for is offered to it again by Reap alone: with something in
  // flight, call it every 100 ms or so though nothing is readable.
  // Unimplemented: this engine has none (with IOPOLL nobody learns of a completion who does not
  // look for it). ResourceExhausted: no descriptors (RLIMIT_NOFILE).
  virtual absl::StatusOr<int> CompletionDescriptor();

  // What the options asked for, or less: AddFile lowers it to what the file's device takes
  // without making the submitter wait inside the kernel.
  virtual uint32_t depth() const = 0;
  // How many of these may be joined transfers: EngineOptions::joined_depth, or depth() if that is
  // less. 0: the engine takes none at all.
  virtual uint32_t joined_depth() const { return 0; }
  // Accepted and not yet reaped.
  virtual uint32_t in_flight() const = 0;
  // In a forked child: the refusal as the reason of a downgrade, and nothing else.
  virtual EngineReport Report() const = 0;
};

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_IO_ENGINE_H_
