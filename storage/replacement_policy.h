#ifndef FIXPOOL_STORAGE_REPLACEMENT_POLICY_H_
#define FIXPOOL_STORAGE_REPLACEMENT_POLICY_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/access_options.h"
#include "fixpool/storage/frame_array.h"
#include "fixpool/storage/frame_index.h"
#include "fixpool/storage/page_id.h"

namespace fixpool::storage {

// Decides in which order pages give way to others.
//
//   policy.OnLoaded(frame, page, Hint::kNormal);         // a miss
//   policy.Hit(frame, Hint::kNormal);                    // later, any thread, no lock
//   FrameIndex victims[8];
//   size_t count = policy.PickVictims(victims, judge);   // a miss that needs frames
//   policy.OnEvicted(victims[0], page);
//
// It knows frames that hold a page by their index, and nothing of latches, transfers and
// dirtiness: the cache tells it what happens to a page, and judges its proposals.
//
// Shape: frames are numbered from 0 to below max_frames(). A frame is present from OnLoaded
// until OnEvicted or OnDropped. At most frame_count() are present at a time; that number may
// change, and with it what shares of it the policy makes.
// Memory: at most 20 bytes for each frame that was ever present, as of DiscardFrom. The constructor
// reserves address space for the most frames that there can be, and CHECKs that it is there.
// Threads: Hit may be called by any thread at any time, with no lock. All else is called under
// one lock of the caller's, the same each time.
class ReplacementPolicy {
 public:
  // What the cache makes of a proposed victim.
  enum class Verdict : uint8_t {
    kTake,  // it goes; OnEvicted follows, and nothing else about this frame before it
    kSkip,  // not now: pinned, in flight, cannot be written
    // It is dirty, and its write has been started or will be; OnWritten or OnWriteFailed follows,
    // if it is not dropped before.
    kDefer,
    kStop,  // propose no more
  };
  using Judge = absl::FunctionRef<Verdict(FrameIndex)>;

  // A frame's heat grows by one for a hit, up to this.
  static constexpr uint8_t kMaxHeat = 3;
  // The heat of a page asked for with Hint::kKeep. Above kMaxHeat, so that other hits leave it.
  static constexpr uint8_t kKeepHeat = 6;

  virtual ~ReplacementPolicy() = default;
  ReplacementPolicy(const ReplacementPolicy&) = delete;
  ReplacementPolicy& operator=(const ReplacementPolicy&) = delete;

  // The page in `frame` was asked for again. Returns whether that was written down: the
  // heat of a popular page is at its most already, and a hit on it only reads. Two hits at once
  // may count as one; a hit that comes when the page has just left may count for the next.
  // With Hint::kScan it does not count at all: who looks at very many pages once each says
  // nothing about this one.
  bool Hit(FrameIndex frame, Hint hint) {
    if (needs_every_hit_) [[unlikely]]
      return OnHit(frame, hint);
    std::atomic<uint8_t>& heat = heat_[frame];
    const uint8_t seen = heat.load(std::memory_order_relaxed);
    if (seen >= kMaxHeat && hint != Hint::kKeep) [[likely]]
      return false;
    if (hint == Hint::kScan) return false;
    const uint8_t next = hint == Hint::kKeep ? kKeepHeat : static_cast<uint8_t>(seen + 1);
    if (next == seen) return false;
    heat.store(next, std::memory_order_relaxed);
    return true;
  }
  // A hit takes the policy's own lock. For comparison with policies that need none.
  bool needs_every_hit() const { return needs_every_hit_; }

  // What a hit looks at before anything else, as a value: whether Hit has nothing to do.
  class HitFilter {
   public:
    bool IsEnough(FrameIndex frame, Hint hint) const {
      return heat_[ToInt(frame)].load(std::memory_order_relaxed) >= enough_ && hint != Hint::kKeep;
    }

   private:
    friend class ReplacementPolicy;
    const std::atomic<uint8_t>* heat_;
    uint8_t enough_;
  };
  HitFilter hit_filter() const {
    HitFilter filter;
    filter.heat_ = &heat_[FrameIndex{0}];
    filter.enough_ = needs_every_hit_ ? kNeverEnough : kMaxHeat;
    return filter;
  }

  // `frame`, which was not present, holds `page` from now on, at the wish of an access with
  // that hint.
  virtual void OnLoaded(FrameIndex frame, const PageId& page, Hint hint) = 0;
  // `page` left `frame` to make room for another. The policy may remember that it was here.
  virtual void OnEvicted(FrameIndex frame, const PageId& page) = 0;
  // The page left `frame` for another reason: its file was closed, it could not be read, it was
  // discarded. Nothing happens if the frame is not present.
  virtual void OnDropped(FrameIndex frame) = 0;
  // A write of `frame` ended; it is clean now.
  virtual void OnWritten(FrameIndex frame) = 0;
  // A write of `frame` ended; it is as dirty as before.
  virtual void OnWriteFailed(FrameIndex frame) = 0;
  // The page in `from` is in `to` from now on, which was not present, and `from` is not: as worthy
  // and as well known as before.
  virtual void OnMoved(FrameIndex from, FrameIndex to) = 0;

  // Proposes pages to `judge`, the least worthy first, until it has taken as many as fit into
  // `out`, or says stop, or each present page has been proposed. Returns how many it took: the
  // first of `out`, in that order. `judge` calls no method of the policy.
  //
  // A page that is skipped is not proposed to the next caller before others have been, so that
  // pages held for long cost one look in a round. A page whose eviction was deferred is
  // proposed again soon after it was written, unless it has been asked for meanwhile.
  // A call proposes a page at most twice, and passes over it for its heat at most kKeepHeat
  // times, each of which a hit or a hint has paid for.
  virtual size_t PickVictims(absl::Span<FrameIndex> out, Judge judge) = 0;

  // From now on as many frames can be present, at least 1 and at most max_frames() (CHECKed).
  // Those above that are evicted, dropped or moved in time. What was remembered of pages that left
  // may be forgotten.
  void SetFrameCount(uint32_t frame_count);
  // Frames are numbered to below `max_frames` from now on, which is not less than it was.
  // ResourceExhausted: as ZeroedMemory; nothing has changed.
  absl::Status MakeRoom(uint32_t max_frames);
  // Frames from `end` on are not present, and the memory for them is given back; max_frames() is
  // `end`.
  void DiscardFrom(uint32_t end);

  uint32_t frame_count() const { return frame_count_; }
  uint32_t max_frames() const { return max_frames_; }
  // Frames that PickVictims looked at, since the beginning, whether it proposed them or not.
  uint64_t frames_examined() const { return frames_examined_; }
  // What max_frames() take when all have been present.
  virtual size_t metadata_bytes() const = 0;

 protected:
  struct Options {
    uint32_t frame_count;  // 1 to max_frames
    uint32_t max_frames;
    uint32_t most_frames;  // that MakeRoom can make; at least max_frames
    bool needs_every_hit = false;
  };
  explicit ReplacementPolicy(const Options& options);

  // Only of those with needs_every_hit(); as Hit. Internally synchronised.
  virtual bool OnHit(FrameIndex frame, Hint hint);
  virtual void OnFrameCount() {}
  virtual void OnDiscardFrom(uint32_t end) = 0;
  virtual absl::Status OnMakeRoom(uint32_t max_frames) = 0;

  uint8_t HeatOf(FrameIndex frame) const { return heat_[frame].load(std::memory_order_relaxed); }
  // A hit at the same time may be lost, or win.
  void SetHeat(FrameIndex frame, uint8_t heat) {
    heat_[frame].store(heat, std::memory_order_relaxed);
  }
  void CountExamined() { ++frames_examined_; }

 private:
  static constexpr uint8_t kNeverEnough = 255;  // no page is as hot

  const bool needs_every_hit_;
  uint32_t max_frames_;
  FrameArray<std::atomic<uint8_t>> heat_;
  uint32_t frame_count_;
  uint64_t frames_examined_ = 0;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_REPLACEMENT_POLICY_H_
