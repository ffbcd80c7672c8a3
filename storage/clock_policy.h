#ifndef FIXPOOL_STORAGE_CLOCK_POLICY_H_
#define FIXPOOL_STORAGE_CLOCK_POLICY_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/frame_array.h"
#include "fixpool/storage/replacement_policy.h"

namespace fixpool::storage {

// CLOCK: a hand goes round the frames and takes the first page that has no chance left; it
// takes a chance from each page that it passes, and a hit gives one chance, if there is none.
//
// The chances are the heat above kMaxHeat - 1, so that a hit on a page that has its chance
// stores nothing. Hints. Scan: the page is the next to be evicted. Prefetch: its first hit gives no
// chance. Keep: four chances. A page that was dirty when the hand met it is remembered when
// it has been written and comes before the hand's next.
// Memory: 2 bytes a frame.
// Threads, errors: as ReplacementPolicy.
// Source: Corbató, "A paging experiment with the Multics system", 1968.
class ClockPolicy final : public ReplacementPolicy {
 public:
  // `frame_count` is 1 to `max_frames`, which MakeRoom can raise to `most_frames`.
  ClockPolicy(uint32_t frame_count, uint32_t max_frames, uint32_t most_frames);
  ClockPolicy(uint32_t frame_count, uint32_t max_frames)
      : ClockPolicy(frame_count, max_frames, max_frames) {}
  explicit ClockPolicy(uint32_t frame_count) : ClockPolicy(frame_count, frame_count) {}

  void OnLoaded(FrameIndex frame, const PageId& page, Hint hint) override;
  void OnEvicted(FrameIndex frame, const PageId& page) override;
  void OnDropped(FrameIndex frame) override;
  void OnWritten(FrameIndex frame) override;
  void OnWriteFailed(FrameIndex frame) override;
  void OnMoved(FrameIndex from, FrameIndex to) override;
  size_t PickVictims(absl::Span<FrameIndex> out, Judge judge) override;
  size_t metadata_bytes() const override;

 private:
  struct Entry {
    bool present : 1 = false;
    bool deferred : 1 = false;  // was met dirty; its write is in flight
    bool ready : 1 = false;     // is in ready_
  };
  static_assert(sizeof(Entry) == 1);
  struct Search;
  static constexpr uint8_t kCold = kMaxHeat - 1;  // no chance
  static constexpr uint32_t kReadyCapacity = 256;

  void OnDiscardFrom(uint32_t end) override;
  absl::Status OnMakeRoom(uint32_t max_frames) override;
  Entry& At(FrameIndex frame) { return entries_[frame]; }
  void MakeReady(FrameIndex frame);
  FrameIndex PopReady();
  FrameIndex NextOfHand();
  void LookAtReady(Search& search);
  void GoRound(Search& search);
  void Propose(Search& search, FrameIndex frame);

  FrameArray<Entry> entries_;
  uint32_t hand_ = 0;
  uint32_t end_ = 0;      // frames from here on hold no page
  uint32_t present_ = 0;  // how many are
  // A ring: those that were written back, and those that were loaded for scans. What does not
  // fit is met by the hand.
  std::array<FrameIndex, kReadyCapacity> ready_;
  uint32_t ready_first_ = 0;
  uint32_t ready_size_ = 0;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_CLOCK_POLICY_H_
