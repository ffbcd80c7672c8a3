#include "fixpool/storage/frame_table.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/io/check.h"

namespace fixpool::storage {
namespace {

ZeroedMemory Reserve(size_t size_bytes) {
  absl::StatusOr<ZeroedMemory> memory =
      ZeroedMemory::ReserveAddresses((size_bytes + 4095) / 4096 * 4096);
  FIXPOOL_CHECK(memory.ok(), memory.status().message());
  return *std::move(memory);
}

}  // namespace

FrameTable::FrameTable(uint32_t max_size, absl::Span<const Place> places, VersionEpoch* epoch)
    : epoch_(epoch),
      memory_(Reserve(max_size * sizeof(Frame))),
      frames_(reinterpret_cast<Frame*>(memory_.data())) {
  uint32_t size = 0;
  for (const Place& place : places) size = std::max(size, ToInt(place.index) + 1);
  const absl::Status status = MakeRoom(size);
  FIXPOOL_CHECK(status.ok(), status.message());
  Add(places);
}

FrameTable::~FrameTable() { std::destroy(frames_, frames_ + size_); }

// ---- Coming and going ----

void FrameTable::GrowTo(uint32_t size) {
  FIXPOOL_CHECK(size * sizeof(Frame) <= memory_.accessible_bytes(),
                "more frames than there is room for");
  for (; size_ < size; ++size_) std::construct_at(&frames_[size_]);
  leaving_.resize(size_);
}

void FrameTable::Add(absl::Span<const Place> places) {
  uint32_t size = size_;
  for (const Place& place : places) size = std::max(size, ToInt(place.index) + 1);
  GrowTo(size);
  const size_t before = free_.size();
  // Room for all, so that PutFree does not allocate; more than that, since others may follow.
  const size_t room = frame_count_ + places.size();
  if (free_.capacity() < room) free_.reserve(std::max(room, 2 * free_.capacity()));
  for (const Place& place : places) {
    Frame& frame = at(place.index);
    FIXPOOL_CHECK(frame.handle == arena::PageHandle(), "a frame was added that was there");
    frame.handle = place.handle;
    free_.push_back(place.index);
  }
  std::sort(free_.begin() + static_cast<ptrdiff_t>(before), free_.end(), std::greater<>());
  frame_count_ += static_cast<uint32_t>(places.size());
  counts_.free += static_cast<uint32_t>(places.size());
}

void FrameTable::Leave(absl::Span<const FrameIndex> frames) {
  for (const FrameIndex index : frames) {
    if (leaving_[ToInt(index)]) continue;
    leaving_[ToInt(index)] = true;
    ++leaving_count_;
  }
  std::erase_if(free_, [this](FrameIndex index) { return leaving(index); });
}

void FrameTable::Stay(absl::Span<const FrameIndex> frames) {
  for (const FrameIndex index : frames) {
    if (!leaving_[ToInt(index)]) continue;
    leaving_[ToInt(index)] = false;
    --leaving_count_;
    if (at(index).state == FrameState::kFree) free_.push_back(index);
  }
}

arena::PageHandle FrameTable::Remove(FrameIndex index) {
  FIXPOOL_CHECK(leaving(index) && at(index).state == FrameState::kFree,
                "a frame was removed that is in use");
  leaving_[ToInt(index)] = false;
  --leaving_count_;
  --frame_count_;
  --counts_.free;
  return std::exchange(at(index).handle, arena::PageHandle());
}

bool FrameTable::Trim(uint32_t most) {
  const uint32_t before = size_;
  const auto ends_in_a_hole = [this] {
    return size_ > 0 && frames_[size_ - 1].handle == arena::PageHandle();
  };
  while (before - size_ < most && ends_in_a_hole()) std::destroy_at(&frames_[--size_]);
  leaving_.resize(size_);
  constexpr size_t kUnitBytes = 4096;  // of what the kernel gives and takes
  const auto whole = [](size_t bytes) {
    return (bytes + kUnitBytes - 1) / kUnitBytes * kUnitBytes;
  };
  const size_t first_bytes = size_ * sizeof(Frame);
  const size_t end_bytes = before * sizeof(Frame);
  // What is left of a frame that ends or begins in a page that stays shows what a hole shows, too.
  std::memset(memory_.data() + first_bytes, 0,
              std::min(whole(first_bytes), end_bytes) - first_bytes);
  if (whole(first_bytes) < end_bytes) {
    memory_.Discard(whole(first_bytes), whole(end_bytes) - whole(first_bytes));
  }
  return ends_in_a_hole();
}

void FrameTable::MoveContents(FrameIndex from, FrameIndex to) {
  Edit source(*this, from);
  Edit target(*this, to);
  FIXPOOL_CHECK(source->word == nullptr && !source->pinned() && source->latch.calm() &&
                    target->word == nullptr && target->state == FrameState::kFree,
                "a page was moved that is in use, or to where another is");
  target->page = std::exchange(source->page, PageId());
  target->state = std::exchange(source->state, FrameState::kFree);
  target->dirty = std::exchange(source->dirty, false);
  target->write_failed = std::exchange(source->write_failed, false);
  target->error = std::exchange(source->error, absl::OkStatus());
}

// ---- Free frames ----

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
  if (!leaving(index)) free_.push_back(index);
}

// ---- Words ----

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
