#ifndef FIXPOOL_STORAGE_CLOCK_POLICY_H_
#define FIXPOOL_STORAGE_CLOCK_POLICY_H_

#include "fixpool/io/require_cpp20.h"

#include <array>
#include <cstdint>
#include <vector>

#include "fixpool/storage/replacement_policy.h"

namespace fixpool::storage {

// CLOCK: a hand goes round the frames and takes the first page that has no chance left; it
// takes a chance from each page that it passes, and a hit gives the chance back.
//
// Chances by hint: scan 0, normal and prefetch 1, keep 3. A page that was dirty when the
// hand met it is remembered when it has been written and comes before the hand's next.
// Guarded by the cache's lock.
class ClockPolicy final : public ReplacementPolicy {
 public:
  explicit ClockPolicy(uint32_t frame_count);

  void OnLoaded(FrameIndex frame, const PageId& page, Hint hint) override;
  void OnHit(FrameIndex frame, Hint hint) override;
  void OnEvicted(FrameIndex frame) override;
  void OnWritten(FrameIndex frame) override;
  void OnWriteFailed(FrameIndex frame) override;
  FrameIndex PickVictim(Judge judge) override;

 private:
  struct Entry {
    bool present = false;
    bool deferred = false;  // was met dirty; its write is in flight
    bool ready = false;     // is in ready_
    uint8_t chances = 0;
  };
  static constexpr uint8_t kMaxChances = 3;
  static constexpr uint32_t kReadyCapacity = 256;

  static uint8_t ChancesOf(Hint hint);
  FrameIndex PopReady();

  std::vector<Entry> entries_;  // by frame
  uint32_t hand_ = 0;
  // A ring: those that were written back. What does not fit is met by the hand.
  std::array<FrameIndex, kReadyCapacity> ready_;
  uint32_t ready_first_ = 0;
  uint32_t ready_size_ = 0;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_CLOCK_POLICY_H_
