#ifndef FIXPOOL_STORAGE_REPLACEMENT_POLICY_H_
#define FIXPOOL_STORAGE_REPLACEMENT_POLICY_H_

#include "fixpool/io/require_cpp20.h"

#include <atomic>
#include <vector>

#include "absl/functional/function_ref.h"
#include "fixpool/storage/access_options.h"
#include "fixpool/storage/frame.h"
#include "fixpool/storage/page_id.h"

namespace fixpool::storage {

// Decides in which order pages give way to others.
//
// It knows frames that hold a page by their index, and nothing of latches, transfers and
// dirtiness: the cache tells it what happens to a page, and judges its proposals.
// Allocates in its constructor only. Guarded by the cache's lock.
class ReplacementPolicy {
 public:
  // What the cache makes of a proposed victim.
  enum class Verdict : uint8_t {
    kTake,   // it goes; OnEvicted follows
    kSkip,   // not now: pinned, in flight, cannot be written
    kDefer,  // it was dirty and its write has been started; OnWritten or OnWriteFailed follows
    kStop,   // propose no more
  };
  using Judge = absl::FunctionRef<Verdict(FrameIndex)>;

  virtual ~ReplacementPolicy() = default;

  // `frame` holds `page` from now on, at the wish of an access with that hint.
  virtual void OnLoaded(FrameIndex frame, const PageId& page, Hint hint) = 0;
  // The page in `frame` was asked for again, at the wish of an access with that hint.
  virtual void OnHit(FrameIndex frame, Hint hint) = 0;
  // The page in `frame` was asked for again. Any thread, without the lock.
  void Hit(FrameIndex frame) {
    std::atomic<uint8_t>& heat = heat_[ToInt(frame)];
    const uint8_t seen = heat.load(std::memory_order_relaxed);
    if (seen < 3) heat.store(seen + 1, std::memory_order_relaxed);
  }
  // The page left `frame`: evicted, dropped with its file, or never read because of an error.
  virtual void OnEvicted(FrameIndex frame) = 0;
  // A write of `frame` ended; it is clean now.
  virtual void OnWritten(FrameIndex frame) = 0;
  // A write of `frame` ended; it is as dirty as before.
  virtual void OnWriteFailed(FrameIndex frame) = 0;

  // Proposes pages to `judge`, the least worthy first, until it takes one, which is returned,
  // or says stop, or all have been proposed: kNoFrame. A page whose eviction was deferred is
  // proposed again soon after it was written, unless it has been asked for meanwhile.
  // `judge` calls no method of the policy.
  virtual FrameIndex PickVictim(Judge judge) = 0;

 protected:
  explicit ReplacementPolicy(uint32_t size) : heat_(size) {}
  std::vector<std::atomic<uint8_t>> heat_;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_REPLACEMENT_POLICY_H_
