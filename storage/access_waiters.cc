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

WaitList& AccessWaiters::ListOf(const AccessWaiter& waiter) {
  if (waiter.place_ == Place::kPages) return BucketOf(waiter.frame_);
  return waiter.place_ == Place::kFrames ? frames_.list : transfers_.list;
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
  return turn != waiter->place_;
}

void AccessWaiters::Wake(WaitList& list, AccessWaiter* waiter) {
  list.Remove(waiter);
  waiter->place_ = Place::kNone;
  --size_;
  static_cast<WaitNode*>(waiter)->Wake();
}

void AccessWaiters::WakeForPage(FrameIndex frame) {
  if (size_ == 0) return;
  WaitList& list = BucketOf(frame);
  WaitNode* next = nullptr;
  for (WaitNode* node = list.first(); node != nullptr; node = next) {
    next = WaitList::After(node);
    auto* const waiter = static_cast<AccessWaiter*>(node);
    if (waiter->frame_ == frame) Wake(list, waiter);
  }
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
  const auto wake = [&](WaitList& list) {
    WaitNode* next = nullptr;
    for (WaitNode* node = list.first(); node != nullptr; node = next) {
      next = WaitList::After(node);
      auto* const waiter = static_cast<AccessWaiter*>(node);
      if (matches(*waiter)) Wake(list, waiter);
    }
  };
  for (WaitList& list : pages_) wake(list);
  wake(frames_.list);
  wake(transfers_.list);
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
