#ifndef FIXPOOL_STORAGE_ACCESS_WAITERS_H_
#define FIXPOOL_STORAGE_ACCESS_WAITERS_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "fixpool/io/environment.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/frame_index.h"
#include "fixpool/storage/wait_node.h"

namespace fixpool::storage {

// A task that waits for something of a page cache.
class AccessWaiter : public WaitNode {
 protected:
  AccessWaiter() = default;
  ~AccessWaiter() = default;

 private:
  friend class AccessWaiters;
  enum class Place : uint8_t { kNone, kPages, kFrames, kTransfers, kDirtying };

  Place place_ = Place::kNone;  // the list that it is in
  Place turn_ = Place::kNone;   // woken for one of these, and has not looked yet
  FrameIndex frame_ = kNoFrame;
  io::Deadline deadline_ = io::Deadline::Infinite();
};

// All tasks that wait for something of one page cache: for a page in a certain frame (its read,
// its latch, its write-back), for some frame, for the engine to have room, or for leave to change
// pages.
//
//   waiters.WaitForPage(waiter, frame, deadline);   // by its task
//   ...
//   waiters.WakeForPage(frame);                     // whoever changed something about the page
//
// Whoever is woken looks for himself. All who wait for a page are; of those who wait for
// frames or for room only as many as there are of these, in the order in which they came. Such
// a one has a turn, which lasts until he has looked (EndTurn), and meanwhile counts as taken.
// Who looked in vain comes to the head of the list again.
// Nothing allocates. Guarded by the cache's lock.
class AccessWaiters {
 public:
  void WaitForPage(AccessWaiter* waiter, FrameIndex frame, io::Deadline deadline);
  void WaitForFrame(AccessWaiter* waiter, io::Deadline deadline);
  void WaitForTransfer(AccessWaiter* waiter, io::Deadline deadline);
  // Until pages may be made dirty again.
  void WaitForDirtying(AccessWaiter* waiter, io::Deadline deadline);
  // It waits no more, without having been woken.
  void Remove(AccessWaiter* waiter);
  // It has looked, or will not. True: it had a turn, and perhaps did not use it, so that the
  // caller should see whether there is something for others.
  bool EndTurn(AccessWaiter* waiter);

  void WakeForPage(FrameIndex frame);
  // There may be `count` of these now.
  void WakeForFrames(uint32_t count) { WakeFirst(frames_, count); }
  void WakeForTransfers(uint32_t count) { WakeFirst(transfers_, count); }
  void WakeForDirtying();
  // What the tasks wait for will not come as expected: all look.
  void WakeAll();

  // No earlier than this some deadline passes; those whose deadline has passed are woken.
  io::Deadline next_deadline() const { return next_deadline_; }
  void WakeExpired(int64_t now_ns);
  // Turns of tasks whose thread does not come to look do not count any more.
  void ForgetTurns() { frames_.turns = transfers_.turns = 0; }

  size_t size() const { return size_; }
  bool someone_waits_for_frames() const { return !frames_.list.empty(); }
  bool someone_waits_for_transfers() const { return !transfers_.list.empty(); }

 private:
  using Place = AccessWaiter::Place;
  static constexpr size_t kBuckets = 256;
  struct Queue {
    WaitList list;
    uint32_t turns = 0;
  };

  void Add(WaitList& list, AccessWaiter* waiter, Place place, io::Deadline deadline, bool first);
  void WakeFirst(Queue& queue, uint32_t count);
  void Wake(WaitList& list, AccessWaiter* waiter);
  template <typename Matches>
  void WakeIf(WaitList& list, Matches matches);
  WaitList& BucketOf(FrameIndex frame) { return pages_[ToInt(frame) % kBuckets]; }
  WaitList& ListOf(const AccessWaiter& waiter);
  // Of all lists in turn, the waiters for which `matches`.
  template <typename Matches>
  void WakeIf(Matches matches);

  std::array<WaitList, kBuckets> pages_;
  Queue frames_;
  Queue transfers_;
  WaitList dirtying_;
  size_t size_ = 0;
  io::Deadline next_deadline_ = io::Deadline::Infinite();
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_ACCESS_WAITERS_H_
