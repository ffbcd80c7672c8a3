#ifndef FIXPOOL_STORAGE_S3_FIFO_POLICY_H_
#define FIXPOOL_STORAGE_S3_FIFO_POLICY_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/frame_array.h"
#include "fixpool/storage/frame_queue.h"
#include "fixpool/storage/ghost_table.h"
#include "fixpool/storage/replacement_policy.h"

namespace fixpool::storage {

// S3-FIFO with a correlation window: most pages are asked for by one operation and never again,
// and leave soon; those that are asked for again later stay.
//
// Shape: a new page goes through a small queue, a tenth of the frames; one hit there, and it
// goes on to the main queue when it comes to the end, else it is evicted and remembered in
// the ghost table (as many pages as 0.9 of the frames). A page that is loaded while it is
// remembered goes to the main queue at once. In the main queue each hit, up to three, is worth
// one more round. Hits on the newest half of the small queue do not count, because what
// one operation does several times is not popularity: there the heat is kMaxHeat from the start,
// so that these hits do not even store, and becomes 0 when the page enters the older half.
//
// Hints. Scan: the page is the next to be evicted and not remembered afterwards; if anybody
// else asks for it, it is as if it had just been loaded. Prefetch: the first hit stands for
// the load; what nobody came for is not remembered. Keep: the page starts in the main queue
// and is worth kKeepHeat rounds.
//
// Memory: 14.5 bytes a frame, ghosts included.
// Threads, errors: as ReplacementPolicy.
// Sources: Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023; the
// correlation window is as in Clock2Q+. What it was compared with: docs/replacement.md.
class S3FifoPolicy final : public ReplacementPolicy {
 public:
  // `frame_count` is 1 to `max_frames`, which MakeRoom can raise to `most_frames`.
  S3FifoPolicy(uint32_t frame_count, uint32_t max_frames, uint32_t most_frames);
  S3FifoPolicy(uint32_t frame_count, uint32_t max_frames)
      : S3FifoPolicy(frame_count, max_frames, max_frames) {}
  explicit S3FifoPolicy(uint32_t frame_count) : S3FifoPolicy(frame_count, frame_count) {}

  void OnLoaded(FrameIndex frame, const PageId& page, Hint hint) override;
  void OnEvicted(FrameIndex frame, const PageId& page) override;
  void OnDropped(FrameIndex frame) override;
  void OnWritten(FrameIndex frame) override;
  void OnWriteFailed(FrameIndex frame) override;
  void OnMoved(FrameIndex from, FrameIndex to) override;
  size_t PickVictims(absl::Span<FrameIndex> out, Judge judge) override;
  size_t metadata_bytes() const override;

 private:
  enum class Place : uint8_t {
    kAbsent,
    kTaken,            // by PickVictims; not to be remembered
    kTakenToRemember,  // the same; to be remembered when OnEvicted tells its name
    kScan,             // the rest are queues
    kYoung,
    kOld,
    kMain,
  };
  struct Entry {
    Place place : 4 = Place::kAbsent;
    uint8_t prefetched : 1 = 0;  // not asked for yet, as far as its heat does not tell
    uint8_t deferred : 1 = 0;    // was met dirty; its write is in flight
  };
  static_assert(sizeof(Entry) == 1);
  struct Search;

  Entry& At(FrameIndex frame) { return entries_[frame]; }
  FrameQueue& QueueOf(Place place);
  static bool IsQueue(Place place) { return place >= Place::kScan; }
  uint32_t small_size() const { return young_.size() + old_.size(); }
  bool WorthRemembering(FrameIndex frame);
  void PushNewest(FrameIndex frame, Place place);
  void EnterYoung(FrameIndex frame, uint8_t heat);
  void EnterOlderHalf(FrameIndex frame);
  void Leave(FrameIndex frame);

  void Look(Search& search);
  void LookAtScan(Search& search);
  void LookAtSmall(Search& search);
  void LookAtMain(Search& search);
  Verdict Propose(Search& search, FrameIndex frame);
  void ProposeAndRequeue(Search& search, FrameIndex frame);
  void ProposeAllOf(Search& search, FrameQueue& queue);
  void OnFrameCount() override;
  void OnDiscardFrom(uint32_t end) override;
  absl::Status OnMakeRoom(uint32_t max_frames) override;

  FrameQueue::Links links_;
  FrameQueue scan_;   // pages loaded for scans: evicted before all others
  FrameQueue young_;  // the newest half of the small queue
  FrameQueue old_;    // its older half
  FrameQueue main_;
  FrameArray<Entry> entries_;
  GhostTable ghosts_;
  uint32_t small_target_ = 0;  // the main queue gives frames away only while small_size() is less
  uint32_t young_target_ = 0;  // invariant between calls: young_.size() is at most that
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_S3_FIFO_POLICY_H_
