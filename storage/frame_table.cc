#include "fixpool/storage/frame_table.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "fixpool/io/check.h"

namespace fixpool::storage {

static_assert(PageWord::kMaxFrames < 1u << Frame::kBusyBits);
static_assert(PageWords::kMaxFiles <= 1u << Frame::kSlotBits);

absl::StatusOr<FrameTable::Memory> FrameTable::Memory::Reserve(uint32_t size) {
  absl::StatusOr<ZeroedMemory> frames = ZeroedMemory::Reserve(size_t{size} * sizeof(Frame));
  if (!frames.ok()) return frames.status();
  absl::StatusOr<BusyFramePool> busy = BusyFramePool::Create(size);
  if (!busy.ok()) return busy.status();
  return Memory(size, *std::move(frames), *std::move(busy));
}

FrameTable::Memory::Memory(uint32_t size, ZeroedMemory frames, BusyFramePool busy)
    : size_(size), frames_(std::move(frames)), busy_(std::move(busy)) {}

FrameTable::FrameTable(Memory memory, std::vector<Place> places, PageWords* words)
    : words_(words),
      size_(memory.size_),
      frame_memory_(std::move(memory.frames_)),
      frames_(reinterpret_cast<Frame*>(frame_memory_.data())),
      busy_(std::move(memory.busy_)) {
  std::sort(places.begin(), places.end(),
            [](const Place& a, const Place& b) { return a.index < b.index; });
  for (const Place& place : places) AddFrame(place);
  // So that the first is taken first.
  for (auto place = places.rbegin(); place != places.rend(); ++place) PushFree(place->index);
}

void FrameTable::AddFrame(const Place& place) {
  FIXPOOL_CHECK(place.handle.generation % 2 == 1, "a frame of a page that is not allocated");
  Frame& frame = at(place.index);
  FIXPOOL_CHECK(frame.state == FrameState::kHole, "two frames in one place");
  frame.state = FrameState::kFree;
  frame.generation_half = place.handle.generation >> 1;
  regions_.Set(place.index, place.handle);
  ++frame_count_;
  ++kinds_[kFree];
}

void FrameTable::PushFree(FrameIndex index) {
  at(index).page_low = ToInt(first_free_);
  first_free_ = index;
  ++available_;
}

FrameIndex FrameTable::TakeFree() {
  const FrameIndex index = first_free_;
  if (index == kNoFrame) return kNoFrame;
  first_free_ = FrameIndex{at(index).page_low};
  --available_;
  return index;
}

void FrameTable::PutFree(FrameIndex index) {
  if (at(index).busy != 0 || at(index).state != FrameState::kFree) {
    Edit frame(*this, index);
    const BusyFrame& busy = frame.busy();
    FIXPOOL_CHECK(
        !busy.pinned() && !frame->dirty && !busy.latch.write_back() && busy.word == nullptr,
        "a frame was freed that is still in use");
    frame->state = FrameState::kFree;
  }
  PushFree(index);
}

bool FrameTable::TryVacate(FrameIndex index) {
  Frame& frame = at(index);
  if (frame.busy != 0 || frame.state != FrameState::kResident || frame.dirty || frame.closing) {
    return false;
  }
  AtomicPageWord* const word = FindWord(frame);
  for (PageWord seen = Load(*word); seen.CanClose();) {
    const PageWord absent = PageWord::Absent(seen.version() + 1);
    words_->epoch().Published(absent.version());
    uint64_t bits = seen.bits();
    if (word->compare_exchange_strong(bits, absent.bits(), std::memory_order_acq_rel)) {
      frame.state = FrameState::kFree;
      Recount(kClean, kFree);
      return true;
    }
    seen = PageWord(bits);
  }
  return false;
}

void FrameTable::MarkDirty(FrameIndex index) {
  Frame& frame = at(index);
  const int kind = KindOf(frame, BusyOf(frame));
  frame.dirty = true;
  Recount(kind, KindOf(frame, BusyOf(frame)));
}

AtomicPageWord* FrameTable::WordOf(FrameIndex index) const {
  const Frame& frame = frames_[ToInt(index)];
  if (frame.busy != 0) return busy_[frame.busy].word;
  return frame.state == FrameState::kResident ? FindWord(frame) : nullptr;
}

bool FrameTable::IsPinnedOrHeld(FrameIndex index) const {
  if (!frames_[ToInt(index)].holds_page()) return false;
  if (IsPinned(index)) return true;
  const AtomicPageWord* const word = WordOf(index);
  return word != nullptr && Load(*word).held();
}

void FrameTable::Bind(FrameIndex index, AtomicPageWord* word) {
  Frame& frame = at(index);
  FIXPOOL_CHECK(frame.busy != 0 && busy_[frame.busy].word == nullptr, "two pages in one frame");
  FIXPOOL_CHECK(!Load(*word).present(), "one page in two frames");
  BusyFrame& busy = busy_[frame.busy];
  busy.word = word;
  busy.captured = true;
  ++busy.captures;
  EndCapture(index, busy);
}

void FrameTable::Unbind(FrameIndex index) {
  Frame& frame = at(index);
  BusyFrame& busy = BeginCapture(frame);
  --busy.captures;
  FIXPOOL_CHECK(busy.word != nullptr, "a page left the cache that was not in it");
  const uint32_t version = Load(*busy.word).version() + 1;
  words_->epoch().Published(version);
  busy.word->store(PageWord::Absent(version).bits(), std::memory_order_release);
  busy.word = nullptr;
  busy.captured = false;
  busy.wanted = false;
  frame.closing = false;
}

BusyFrame& FrameTable::MakeBusy(Frame& frame) {
  const uint32_t number = busy_.Take();
  frame.busy = number;
  BusyFrame& busy = busy_[number];
  if (frame.state == FrameState::kResident) {
    busy.word = FindWord(frame);
    busy.captured = frame.closing;
  }
  return busy;
}

void FrameTable::DropBusy(Frame& frame) {
  busy_.Put(frame.busy);
  frame.busy = 0;
}

void FrameTable::Guard(Frame& frame, BusyFrame& busy) {
  PageWord seen = Load(*busy.word);
  uint64_t bits = seen.bits();
  while (
      !busy.word->compare_exchange_weak(bits, seen.Guarded().bits(), std::memory_order_acq_rel)) {
    seen = PageWord(bits);
  }
  busy.captured = true;
  if (seen.readers() == 0 && !seen.closed()) return;
  const int kind = KindOf(frame, busy);
  busy.latch.Adopt(seen.readers(), seen.closed());
  Recount(kind, KindOf(frame, busy));
}

void FrameTable::GiveUp(FrameIndex index, BusyFrame& busy) {
  Frame& frame = at(index);
  if (busy.word != nullptr) {
    Publish(index, frame, busy);
  } else if (!frame.holds_page()) {
    DropBusy(frame);
  }
}

void FrameTable::Publish(FrameIndex index, Frame& frame, BusyFrame& busy) {
  const PageWord seen = Load(*busy.word);
  const bool resident = frame.state == FrameState::kResident;
  const bool closed = !resident || busy.latch.held_exclusively();
  uint32_t version = seen.version();
  if (seen.closed() && !closed) words_->epoch().Published(++version);
  if (!busy.latch.held()) busy.wanted = false;
  const bool quiet = resident && busy.attached == 0 && busy.latch.calm() && !busy.wanted;
  const bool calm = quiet && !frame.closing && busy.latch.readers() <= PageWord::kMaxReaders / 2;
  uint32_t readers = 0;
  if (calm && busy.latch.held()) {
    readers = busy.latch.readers();
    const int kind = KindOf(frame, busy);
    busy.latch.Leave();
    Recount(kind, KindOf(frame, busy));
  }
  busy.captured = !calm;
  const PageWord next = PageWord::Make(index, readers, closed, /*guarded=*/!calm, version);
  if (next != seen) busy.word->store(next.bits(), std::memory_order_release);
  if (quiet && !busy.latch.held() && !busy.write_failed) DropBusy(frame);
}

size_t FrameTable::metadata_bytes() const {
  return size_t{regions_.end()} * sizeof(Frame) + busy_.touched_bytes() + regions_.size_bytes();
}

}  // namespace fixpool::storage
