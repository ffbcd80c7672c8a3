#include "fixpool/storage/page_latch.h"

#include "fixpool/io/check.h"

namespace fixpool::storage {

PageLatch::Answer PageLatch::TryShared(const Caller& caller) {
  if (writer_) {
    return caller.guards_of_this_page > 0 ? Answer::kWouldDeadlock : Answer::kWaitForHolder;
  }
  // During a write-back the writers cannot enter anyway.
  const bool writer_is_next = exclusive_waiting_ > 0 && !readers_turn_ && !write_back_;
  if (writer_is_next && !caller.holds_guards) return Answer::kWaitForHolder;
  ++readers_;
  return Answer::kGranted;
}

PageLatch::Answer PageLatch::TryExclusive(const Caller& caller) {
  if (writer_) {
    return caller.guards_of_this_page > 0 ? Answer::kWouldDeadlock : Answer::kWaitForHolder;
  }
  if (readers_ > 0) {
    const bool all_are_mine = caller.guards_of_this_page == readers_;
    return all_are_mine ? Answer::kWouldDeadlock : Answer::kWaitForHolder;
  }
  if (write_back_) return Answer::kWaitForWriteBack;
  if (readers_turn_) return Answer::kWaitForHolder;
  writer_ = true;
  return Answer::kGranted;
}

bool PageLatch::ReleaseShared() {
  FIXPOOL_CHECK(readers_ > 0 && !writer_, "a shared latch was released that nobody held");
  --readers_;
  // Not only for the last one: the rest may all be the waiting writer's own.
  return exclusive_waiting_ > 0;
}

bool PageLatch::ReleaseExclusive() {
  FIXPOOL_CHECK(writer_ && readers_ == 0, "an exclusive latch was released that nobody held");
  writer_ = false;
  readers_turn_ = shared_waiting_ > 0;
  return shared_waiting_ > 0 || exclusive_waiting_ > 0;
}

bool PageLatch::Downgrade() {
  const bool wake = ReleaseExclusive();
  ++readers_;
  return wake;
}

bool PageLatch::TryUpgrade() {
  FIXPOOL_CHECK(readers_ > 0 && !writer_, "a shared latch was upgraded that nobody held");
  if ((readers_ > 1 && !Mutated(Mutation::kUpgradeBesideReaders)) || write_back_) return false;
  readers_ = 0;
  writer_ = true;
  return true;
}

void PageLatch::Adopt(uint32_t readers, bool writer) {
  FIXPOOL_CHECK(readers_ == 0 && !writer_, "a latch has holders beside those of its word");
  readers_ = readers;
  writer_ = writer;
}

void PageLatch::BeginWait(Mode mode) {
  ++(mode == Mode::kShared ? shared_waiting_ : exclusive_waiting_);
}

bool PageLatch::EndWait(Mode mode) {
  uint32_t& waiting = mode == Mode::kShared ? shared_waiting_ : exclusive_waiting_;
  FIXPOOL_CHECK(waiting > 0, "a wait for a latch ended that never began");
  if (--waiting > 0) return false;
  if (mode == Mode::kExclusive) return shared_waiting_ > 0;
  const bool writers_were_held_back = readers_turn_ && exclusive_waiting_ > 0;
  readers_turn_ = false;
  return writers_were_held_back;
}

}  // namespace fixpool::storage
