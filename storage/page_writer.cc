#include "fixpool/storage/page_writer.h"

#include <algorithm>
#include <tuple>

#include "fixpool/io/mutex.h"
#include "fixpool/storage/ensure_log.h"
#include "fixpool/storage/page_transfers.h"

namespace fixpool::storage {
namespace {

// Of one step, for the sake of those who wait for the lock.
constexpr uint32_t kFramesOfAStep = 4096;
constexpr size_t kItemsOfAStep = 512;

// Whether there is room for so many transfers that giving them to the kernel costs little beside
// them: an eighth, with which the device stays as good as full.
bool EnoughRoom(uint32_t wanted, uint32_t in_flight) {
  if (in_flight == 0) return true;
  return wanted >= in_flight + std::max(1u, wanted / 8);
}

}  // namespace

PageWriter::PageWriter(CacheState* state) : state_(*state) { items_.reserve(kMostItems); }

uint32_t PageWriter::Wanted() const {
  const uint32_t depth = state_.engine->depth();
  const uint32_t most = std::max(depth - depth / 4, 1u);
  if (state_.throttled || state_.writes_wanted) return most;
  const uint32_t dirty = state_.frames.counts().dirty;
  if (dirty <= state_.dirty_mark) return 0;
  const uint64_t over = dirty - state_.dirty_mark;
  const uint64_t in_proportion = 1 + over * most / std::max(state_.dirty_mark, 1u);
  return static_cast<uint32_t>(std::min<uint64_t>(most, in_proportion));
}

bool PageWriter::CanWrite(FrameIndex index) const {
  const Frame& frame = state_.frames[index];
  if (frame.state != FrameState::kResident || !frame.dirty) return false;
  const PageFile& file = state_.FileOf(index);
  // Who closes a file writes its pages himself; who closes a part of it wants none written.
  if (frame.closing || !file.poison.ok()) return false;
  const FrameTable::Capture capture(state_.frames, index);
  const BusyFrame& busy = capture.busy();
  if (!busy.latch.CanBeginWriteBack()) return false;
  return !busy.write_failed || state_.environment->NowNs() >= state_.write_pause.until_ns();
}

bool PageWriter::Gather() {
  const uint32_t size = state_.frames.size();
  const uint32_t end = std::min(size, cursor_ + kFramesOfAStep);
  for (; cursor_ < end && items_.size() < kMostItems; ++cursor_) {
    const FrameIndex index{cursor_};
    const Frame& frame = state_.frames[index];
    if (frame.state != FrameState::kResident || !frame.dirty || !CanWrite(index)) continue;
    (void)LogAllowsWrite(state_, index);  // so that the log is asked once for all of them
    items_.push_back({.file_slot = static_cast<uint32_t>(frame.file_slot),
                      .frame = index,
                      .page_number = frame.page_number()});
  }
  if (cursor_ < size && items_.size() < kMostItems) return false;
  // Where it stopped, the next round begins.
  if (cursor_ >= size) cursor_ = 0;
  return true;
}

bool PageWriter::IsThere(const Item& item) const {
  if (ToInt(item.frame) >= state_.frames.size()) return false;
  const Frame& frame = state_.frames[item.frame];
  return frame.state == FrameState::kResident && frame.file_slot == item.file_slot &&
         frame.page_number() == item.page_number;
}

PageWriter::Next PageWriter::WriteSome(uint32_t room, IoBatch& batch) {
  RunWriter writer(state_, {.reserve = state_.engine->depth() / 4, .most = room});
  writer.AssertLocked();
  const size_t end = std::min(items_.size(), next_ + kItemsOfAStep);
  bool full = false;
  for (; next_ < end; ++next_) {
    const Item& item = items_[next_];
    if (!IsThere(item)) continue;
    // From the look at its latch to the start of its write: whoever finds the page by its word
    // takes no lock, and would latch it in between.
    const FrameTable::Capture capture(state_.frames, item.frame);
    if (!CanWrite(item.frame) || !LogAllowsWrite(state_, item.frame)) continue;
    const RunWriter::Answer answer = writer.Add(item.frame, batch);
    full = answer == RunWriter::Answer::kNoRoom;
    if (full) break;
    if (answer != RunWriter::Answer::kStarted) continue;  // booked with the page
    idle_round_ = false;
    ++state_.counters.background_writes;
  }
  writer.HandOver(batch);
  if (full) return Next::kWhenWritten;
  if (next_ < items_.size()) return Next::kAgain;
  const bool idle = idle_round_;
  state_.writes_wanted = false;  // whoever still finds nothing says so again
  gathering_ = true;
  items_.clear();
  next_ = 0;
  if (!idle) {
    idle_pause_.StartAnew();
    return Next::kAgain;
  }
  return EndIdleRound();
}

// Nothing of what is dirty can be written: it is held, failing, of a poisoned file, or waits for
// the log.
PageWriter::Next PageWriter::EndIdleRound() {
  if (state_.throttled && state_.writes_in_flight == 0) {
    state_.throttle_in_vain = true;
    state_.WakeThrottled();
  }
  idle_pause_.Lengthen(state_.environment->NowNs());
  retry_at_ = io::Deadline::AtNs(idle_pause_.until_ns());
  return state_.transfers > 0 ? Next::kWhenWritten : Next::kWhenCalled;
}

PageWriter::Next PageWriter::Step() {
  TryToCallLog(state_);
  IoBatch batch;
  Next next = Next::kAgain;
  bool sort = false;
  {
    io::MutexLock lock(state_.mutex);
    retry_at_ = io::Deadline::Infinite();
    const uint32_t wanted = Wanted();
    if (wanted == 0) {
      idle_pause_.StartAnew();
      next = Next::kWhenCalled;
    } else if (gathering_) {
      sort = Gather();
    } else if (!EnoughRoom(wanted, state_.writes_in_flight)) {
      next = Next::kWhenWritten;
    } else {
      next = WriteSome(wanted - state_.writes_in_flight, batch);
    }
    const LogOrder& order = state_.log_order;
    // While somebody else asks the log, the end of that calls for another step.
    if (order.wants() && !order.called() && order.retry_at_ns() > 0 && next != Next::kAgain) {
      retry_at_ = std::min(retry_at_, io::Deadline::AtNs(order.retry_at_ns()));
    }
    // After a round in vain only the end of the pause is worth a look at all frames.
    state_.writer_sleeps = next == Next::kWhenCalled && !idle_pause_.failing();
  }
  Submit(state_, batch);
  if (!sort) return next;
  std::sort(items_.begin(), items_.end(), [](const Item& a, const Item& b) {
    return std::tie(a.file_slot, a.page_number) < std::tie(b.file_slot, b.page_number);
  });
  gathering_ = false;
  idle_round_ = true;
  return Next::kAgain;
}

}  // namespace fixpool::storage
