#include "fixpool/storage/access_waiters.h"

#include <algorithm>
#include <utility>

namespace fixpool::storage {

void AccessWaiters::Add(WaitList& list, AccessWaiter* waiter, Place place, io::Deadline deadline,
                        bool first) {
  waiter->place_ = place;
  waiter->deadline_ = deadline;
  next_deadline_ = std::min(next_deadline_, deadline);
  ++size_;
  first ? list.PushFront(waiter) : list.PushBack(waiter);
}

void AccessWaiters::WaitForPage(AccessWaiter* waiter, FrameIndex frame, io::Deadline deadline) {
  waiter->frame_ = frame;
  Add(BucketOf(frame), waiter, Place::kPages, deadline, /*first=*/false);
}

void AccessWaiters::WaitForFrame(AccessWaiter* waiter, io::Deadline deadline) {
  Add(frames_.list, waiter, Place::kFrames, deadline, waiter->turn_ == Place::kFrames);
}

void AccessWaiters::WaitForTransfer(AccessWaiter* waiter, io::Deadline deadline) {
  Add(transfers_.list, waiter, Place::kTransfers, deadline, waiter->turn_ == Place::kTransfers);
}

void AccessWaiters::WaitForDirtying(AccessWaiter* waiter, io::Deadline deadline) {
  Add(dirtying_, waiter, Place::kDirtying, deadline, /*first=*/false);
}

WaitList& AccessWaiters::ListOf(const AccessWaiter& waiter) {
  switch (waiter.place_) {
    case Place::kPages:
      return BucketOf(waiter.frame_);
    case Place::kFrames:
      return frames_.list;
    case Place::kDirtying:
      return dirtying_;
    case Place::kTransfers:
    case Place::kNone:
      break;
  }
  return transfers_.list;
}

void AccessWaiters::Remove(AccessWaiter* waiter) {
  ListOf(*waiter).Remove(waiter);
  waiter->place_ = Place::kNone;
  --size_;
}

bool AccessWaiters::EndTurn(AccessWaiter* waiter) {
  const Place turn = std::exchange(waiter->turn_, Place::kNone);
  if (turn == Place::kNone) return false;
  uint32_t& turns = turn == Place::kFrames ? frames_.turns : transfers_.turns;
  if (turns > 0) --turns;  // it may have been forgotten
  return true;
}

void AccessWaiters::Wake(WaitList& list, AccessWaiter* waiter) {
  list.Remove(waiter);
  waiter->place_ = Place::kNone;
  --size_;
  static_cast<WaitNode*>(waiter)->Wake();
}

template <typename Matches>
void AccessWaiters::WakeIf(WaitList& list, Matches matches) {
  WaitNode* next = nullptr;
  for (WaitNode* node = list.first(); node != nullptr; node = next) {
    next = WaitList::After(node);
    auto* const waiter = static_cast<AccessWaiter*>(node);
    if (matches(*waiter)) Wake(list, waiter);
  }
}

void AccessWaiters::WakeForPage(FrameIndex frame) {
  if (size_ == 0) return;
  WakeIf(BucketOf(frame), [frame](const AccessWaiter& waiter) { return waiter.frame_ == frame; });
}

void AccessWaiters::WakeFirst(Queue& queue, uint32_t count) {
  while (queue.turns < count && !queue.list.empty()) {
    auto* const waiter = static_cast<AccessWaiter*>(queue.list.first());
    waiter->turn_ = waiter->place_;
    ++queue.turns;
    Wake(queue.list, waiter);
  }
}

template <typename Matches>
void AccessWaiters::WakeIf(Matches matches) {
  for (WaitList& list : pages_) WakeIf(list, matches);
  WakeIf(frames_.list, matches);
  WakeIf(transfers_.list, matches);
  WakeIf(dirtying_, matches);
}

void AccessWaiters::WakeForDirtying() {
  WakeIf(dirtying_, [](const AccessWaiter&) { return true; });
}

void AccessWaiters::WakeAll() {
  if (size_ == 0) return;
  WakeIf([](const AccessWaiter&) { return true; });
}

void AccessWaiters::WakeExpired(int64_t now_ns) {
  if (now_ns < next_deadline_.ns()) return;
  next_deadline_ = io::Deadline::Infinite();
  WakeIf([this, now_ns](const AccessWaiter& waiter) {
    if (waiter.deadline_.ns() <= now_ns) return true;
    next_deadline_ = std::min(next_deadline_, waiter.deadline_);
    return false;
  });
}

}  // namespace fixpool::storage
