#ifndef FIXPOOL_STORAGE_COROUTINE_FRAMES_H_
#define FIXPOOL_STORAGE_COROUTINE_FRAMES_H_

#include "fixpool/io/require_cpp20.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fixpool::storage {

// Memory for the frames of coroutines, all of it there before the first one runs.
//
//   auto frames = CoroutineFrames::Create({.frame_count = 4096});
//   TaskScheduler scheduler(frames->get(), &progress);
//   Task<absl::Status> Lookup(TaskScheduler& scheduler, Key key);   // its frame is one of them
//
// Shape: frame_count() frames for at most frame_bytes() bytes each, aligned to 16 bytes. One
// size and not several: that many tasks can be alive whatever they are. What a small frame does
// not use of its bytes has never been touched, and the kernel gives it no memory by itself.
// How large a coroutine's frame is, only its compiler knows: 100 to 400 bytes are usual, more
// without optimisation. One that is too large says so, with both figures.
// Ownership: outlives every frame; the destructor CHECKs that all are back.
// Threads: Allocate and Free are thread-safe and wait for nobody: one compare-and-swap. A frame
// may be freed by another thread than the one that allocated it.
class CoroutineFrames {
 public:
  struct Options {
    // Default: 128 tasks in flight, each of which awaits another seven deep.
    size_t frame_count = 1024;
    // Default: above what coroutines with a few guards and a key take without optimisation.
    size_t frame_bytes = 1536;
  };

  // InvalidArgument: a figure is 0, or there are 2^32 frames and more, or more bytes than
  // addresses. ResourceExhausted: there is not as much memory.
  static absl::StatusOr<std::unique_ptr<CoroutineFrames>> Create(Options options);
  static absl::StatusOr<std::unique_ptr<CoroutineFrames>> Create() { return Create(Options()); }
  ~CoroutineFrames();
  CoroutineFrames(const CoroutineFrames&) = delete;
  CoroutineFrames& operator=(const CoroutineFrames&) = delete;

  // Null: none is free, or `size_bytes` is more than frame_bytes(); LastRefusal() tells which.
  // Never asks the system for more.
  void* Allocate(size_t size_bytes) noexcept;
  // A frame that Allocate returned, of whichever CoroutineFrames.
  static void Free(void* frame) noexcept;

  // Why Allocate last returned null to this thread. ResourceExhausted: no frame was free.
  // InvalidArgument: it was too large. Both name size and limit. OK if it never did.
  static absl::Status LastRefusal();

  size_t frame_count() const { return frame_count_; }
  size_t frame_bytes() const { return frame_bytes_; }
  // Walks over all that are free: for tests, while nobody allocates or frees.
  size_t CountFree() const;

 private:
  struct MemoryDeleter {
    void operator()(std::byte* memory) const;
  };
  using Memory = std::unique_ptr<std::byte[], MemoryDeleter>;

  // In front of each frame.
  struct alignas(16) Header {
    CoroutineFrames* owner;
    uint32_t index;
  };
  static constexpr uint32_t kNone = UINT32_MAX;

  CoroutineFrames(Options options, size_t stride_bytes, Memory memory,
                  std::unique_ptr<std::atomic<uint32_t>[]> next);

  Header* HeaderOf(uint32_t index) const;
  void Push(uint32_t index);

  const size_t frame_count_;
  const size_t frame_bytes_;
  const size_t stride_bytes_;
  const Memory memory_;
  // By frame: the next free one, if this one is free. Beside the frames and not in them, since
  // a thread that lost the race for a frame may still look at its next.
  const std::unique_ptr<std::atomic<uint32_t>[]> next_;
  // The first free frame below, and above how many were taken so far: who compares and swaps
  // notices that the frame it saw was taken and freed in between, unless 2^32 were.
  std::atomic<uint64_t> head_;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_COROUTINE_FRAMES_H_
