#include "fixpool/storage/frame_table.h"

#include <algorithm>
#include <functional>

#include "absl/status/status.h"
#include "fixpool/io/check.h"

namespace fixpool::storage {

FrameTable::FrameTable(uint32_t size, const std::vector<Place>& places, VersionEpoch* epoch)
    : epoch_(epoch), frame_count_(static_cast<uint32_t>(places.size())), frames_(size) {
  free_.reserve(places.size());
  for (const Place& place : places) {
    frames_[ToInt(place.index)].handle = place.handle;
    free_.push_back(place.index);
  }
  std::sort(free_.begin(), free_.end(), std::greater<>());
  counts_.free = frame_count_;
}

FrameIndex FrameTable::TakeFree() {
  if (free_.empty()) return kNoFrame;
  const FrameIndex index = free_.back();
  free_.pop_back();
  return index;
}

void FrameTable::PutFree(FrameIndex index) {
  {
    Edit frame(*this, index);
    FIXPOOL_CHECK(
        !frame->pinned() && !frame->dirty && !frame->latch.write_back() && frame->word == nullptr,
        "a frame was freed that is still in use");
    frame->state = FrameState::kFree;
    frame->page = PageId();
    frame->write_failed = false;
    frame->error = absl::OkStatus();
  }
  free_.push_back(index);
}

void FrameTable::Bind(FrameIndex index, AtomicPageWord* word) {
  Frame& frame = at(index);
  FIXPOOL_CHECK(frame.word == nullptr, "two pages in one frame");
  FIXPOOL_CHECK(!Load(*word).present(), "one page in two frames");
  frame.word = word;
  frame.captured = true;
  Publish(frame);
}

void FrameTable::Unbind(FrameIndex index) {
  Frame& frame = at(index);
  FIXPOOL_CHECK(frame.word != nullptr, "a page left the cache that was not in it");
  BeginCapture(frame);
  --frame.captures;
  const uint32_t version = Load(*frame.word).version() + 1;
  epoch_->Published(version);
  frame.word->store(PageWord::Absent(version).bits(), std::memory_order_release);
  frame.word = nullptr;
  frame.captured = false;
  frame.wanted = false;
  frame.closing = false;
}

void FrameTable::BeginCapture(Frame& frame) {
  ++frame.captures;
  if (frame.word == nullptr || frame.captured) return;
  PageWord seen = Load(*frame.word);
  uint64_t bits = seen.bits();
  while (
      !frame.word->compare_exchange_weak(bits, seen.Guarded().bits(), std::memory_order_acq_rel)) {
    seen = PageWord(bits);
  }
  frame.captured = true;
  if (seen.readers() == 0 && !seen.closed()) return;
  Count(frame, -1);
  frame.latch.Adopt(seen.readers(), seen.closed());
  Count(frame, 1);
}

void FrameTable::EndCapture(Frame& frame) {
  --frame.captures;
  if (frame.word != nullptr && frame.captures == 0) Publish(frame);
}

void FrameTable::Publish(Frame& frame) {
  const PageWord seen = Load(*frame.word);
  const bool closed = frame.state != FrameState::kResident || frame.latch.held_exclusively();
  uint32_t version = seen.version();
  if (seen.closed() && !closed) epoch_->Published(++version);
  if (!frame.latch.held()) frame.wanted = false;
  const bool calm = frame.captures == 0 && frame.state == FrameState::kResident &&
                    frame.attached == 0 && frame.latch.calm() && !frame.wanted && !frame.closing &&
                    frame.latch.readers() <= PageWord::kMaxReaders / 2;
  uint32_t readers = 0;
  if (calm && frame.latch.held()) {
    readers = frame.latch.readers();
    Count(frame, -1);
    frame.latch.Leave();
    Count(frame, 1);
  }
  frame.captured = !calm;
  frame.word->store(
      PageWord::Make(IndexOf(frame), readers, closed, /*guarded=*/!calm, version).bits(),
      std::memory_order_release);
}

void FrameTable::Count(const Frame& frame, int sign) {
  if (frame.pinned()) counts_.pinned += sign;
  if (frame.in_flight()) {
    counts_.in_flight += sign;
  } else if (frame.state == FrameState::kFree) {
    counts_.free += sign;
  } else if (frame.dirty) {
    counts_.dirty += sign;
    if (frame.write_failed) {
      counts_.failing += sign;
    } else if (!frame.pinned()) {
      counts_.writable += sign;
    }
  } else {
    counts_.clean += sign;
    if (!frame.pinned()) counts_.evictable += sign;
  }
}

}  // namespace fixpool::storage
