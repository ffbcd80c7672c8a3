#ifndef FIXPOOL_STORAGE_LRU_POLICY_H_
#define FIXPOOL_STORAGE_LRU_POLICY_H_

#include <cstddef>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "fixpool/io/mutex.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/frame_array.h"
#include "fixpool/storage/frame_queue.h"
#include "fixpool/storage/replacement_policy.h"

namespace fixpool::storage {

// Least recently used: what nobody asked for for longest goes first. For comparison: each hit
// takes a lock and moves the page in the queue, and a scan displaces everything.
//
// Hints. Scan: the page is the next to be evicted, and hits of scans do not count. Keep: it is
// spared kKeepHeat times. Prefetch makes no difference.
// Memory: 10 bytes a frame.
// Threads, errors: as ReplacementPolicy. The lock of its own is held while a judge is asked, so
// that hits wait for evictions.
class LruPolicy final : public ReplacementPolicy {
 public:
  // `frame_count` is 1 to `max_frames`, which MakeRoom can raise to `most_frames`.
  LruPolicy(uint32_t frame_count, uint32_t max_frames, uint32_t most_frames);
  LruPolicy(uint32_t frame_count, uint32_t max_frames)
      : LruPolicy(frame_count, max_frames, max_frames) {}
  explicit LruPolicy(uint32_t frame_count) : LruPolicy(frame_count, frame_count) {}

  void OnLoaded(FrameIndex frame, const PageId& page, Hint hint) override;
  void OnEvicted(FrameIndex frame, const PageId& page) override;
  void OnDropped(FrameIndex frame) override;
  void OnWritten(FrameIndex frame) override;
  void OnWriteFailed(FrameIndex frame) override;
  void OnMoved(FrameIndex from, FrameIndex to) override;
  size_t PickVictims(absl::Span<FrameIndex> out, Judge judge) override;
  size_t metadata_bytes() const override;

 private:
  enum class Place : uint8_t { kAbsent, kQueued, kDeferred };  // deferred: queued, being written

  bool OnHit(FrameIndex frame, Hint hint) override;
  void OnDiscardFrom(uint32_t end) override;
  absl::Status OnMakeRoom(uint32_t max_frames) override;
  void Leave(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  io::Mutex mutex_;
  FrameQueue::Links links_;
  FrameQueue queue_ ABSL_GUARDED_BY(mutex_);
  FrameArray<Place> places_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_LRU_POLICY_H_
