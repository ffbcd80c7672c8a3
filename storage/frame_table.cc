#include "fixpool/storage/frame_table.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "fixpool/io/check.h"
#include "fixpool/storage/mutation.h"

namespace fixpool::storage {

static_assert(PageWord::kMaxFrames < 1u << Frame::kBusyBits);
static_assert(PageWords::kMaxFiles <= 1u << Frame::kSlotBits);

absl::StatusOr<FrameTable::Memory> FrameTable::Memory::Reserve(uint32_t size, uint32_t most) {
  absl::StatusOr<ZeroedMemory> frames =
      ZeroedMemory::ReserveAddresses(size_t{most} * sizeof(Frame));
  if (!frames.ok()) return frames.status();
  absl::StatusOr<BusyFramePool> busy = BusyFramePool::Create(size, most);
  if (!busy.ok()) return busy.status();
  if (absl::Status status = frames->MakeAccessible(size_t{size} * sizeof(Frame)); !status.ok()) {
    return status;
  }
  return Memory(*std::move(frames), *std::move(busy));
}

FrameTable::Memory::Memory(ZeroedMemory frames, BusyFramePool busy)
    : frames_(std::move(frames)), busy_(std::move(busy)) {}

FrameTable::FrameTable(Memory memory, std::vector<Place> places, PageWords* words)
    : words_(words),
      frame_memory_(std::move(memory.frames_)),
      frames_(reinterpret_cast<Frame*>(frame_memory_.data())),
      busy_(std::move(memory.busy_)) {
  Add(places);
}

// ---- Coming and going ----

absl::Status FrameTable::MakeRoom(uint32_t size) {
  if (absl::Status status = frame_memory_.MakeAccessible(size_t{size} * sizeof(Frame));
      !status.ok()) {
    return status;
  }
  return busy_.MakeRoom(size);
}

void FrameTable::Add(absl::Span<const Place> places) {
  std::vector<Place> sorted(places.begin(), places.end());
  std::sort(sorted.begin(), sorted.end(),
            [](const Place& a, const Place& b) { return a.index < b.index; });
  if (!sorted.empty()) size_ = std::max(size_, ToInt(sorted.back().index) + 1);
  FIXPOOL_CHECK(size_ * sizeof(Frame) <= frame_memory_.accessible_bytes(),
                "more frames than there is room for");
  leaving_.resize(size_);
  for (const Place& place : sorted) AddFrame(place);
  // So that the first is taken first.
  for (auto place = sorted.rbegin(); place != sorted.rend(); ++place) PushFree(place->index);
}

void FrameTable::Leave(absl::Span<const FrameIndex> frames) {
  for (const FrameIndex index : frames) {
    if (leaving_[ToInt(index)]) continue;
    leaving_[ToInt(index)] = true;
    ++leaving_count_;
  }
  // The list without them, in the same order.
  std::vector<FrameIndex> stay;
  stay.reserve(available_);
  while (available_ > 0) {
    const FrameIndex index = TakeFree();
    if (!leaving(index)) stay.push_back(index);
  }
  for (auto index = stay.rbegin(); index != stay.rend(); ++index) PushFree(*index);
}

void FrameTable::Stay(absl::Span<const FrameIndex> frames) {
  for (const FrameIndex index : frames) {
    if (!leaving_[ToInt(index)]) continue;
    leaving_[ToInt(index)] = false;
    --leaving_count_;
    if (at(index).state == FrameState::kFree) PushFree(index);
  }
}

arena::PageHandle FrameTable::Remove(FrameIndex index) {
  FIXPOOL_CHECK(leaving(index) && at(index).state == FrameState::kFree && at(index).busy == 0,
                "a frame was removed that is in use");
  leaving_[ToInt(index)] = false;
  --leaving_count_;
  --frame_count_;
  --kinds_[kFree];
  const arena::PageHandle handle = HandleOf(index);
  at(index) = Frame();
  return handle;
}

bool FrameTable::Trim(uint32_t most) {
  const uint32_t before = size_;
  const auto ends_in_a_hole = [this] {
    return size_ > 0 && frames_[size_ - 1].state == FrameState::kHole;
  };
  while (before - size_ < most && ends_in_a_hole()) --size_;
  leaving_.resize(size_);
  constexpr size_t kUnitBytes = 4096;  // of what the kernel gives and takes
  const auto whole = [](size_t bytes) {
    return (bytes + kUnitBytes - 1) / kUnitBytes * kUnitBytes;
  };
  const size_t first_bytes = whole(size_ * sizeof(Frame));
  const size_t end_bytes = whole(before * sizeof(Frame));
  if (first_bytes < end_bytes) frame_memory_.Discard(first_bytes, end_bytes - first_bytes);
  return ends_in_a_hole();
}

void FrameTable::MoveContents(FrameIndex from, FrameIndex to) {
  Edit source(*this, from);
  Edit target(*this, to);
  FIXPOOL_CHECK(source->state == FrameState::kResident && source.busy().word == nullptr &&
                    !source.busy().pinned() && source.busy().latch.calm() &&
                    target->state == FrameState::kFree && target.busy().word == nullptr,
                "a page was moved that is in use, or to where another is");
  target->page_high = source->page_high;
  target->page_low = source->page_low;
  target->file_slot = source->file_slot;
  target->state = FrameState::kResident;
  target->dirty = source->dirty && !Mutated(Mutation::kLoseDirtyInAMove);
  target.busy().write_failed = std::exchange(source.busy().write_failed, false);
  target.busy().error = std::exchange(source.busy().error, absl::OkStatus());
  source->state = FrameState::kFree;
  source->dirty = false;
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

// ---- Free frames ----

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
  if (!leaving(index)) PushFree(index);
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

void FrameTable::Watch(FrameIndex index) {
  Edit frame(*this, index);
  FIXPOOL_CHECK(frame.busy().word != nullptr, "a frame is watched that nobody can find");
  frame.busy().watched = true;
}

void FrameTable::Unwatch(FrameIndex index, FileId file, PageNumber page) {
  if (ToInt(index) >= size_ || !at(index).HoldsPageOf(file) || at(index).page_number() != page) {
    return;
  }
  Edit(*this, index).busy().watched = false;
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
  busy.watched = false;
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
  if (seen.closed() && !closed && !Mutated(Mutation::kSameVersion)) {
    words_->epoch().Published(++version);
  }
  if (!busy.latch.held()) busy.wanted = false;
  const bool quiet =
      resident && busy.attached == 0 && busy.latch.calm() && !busy.wanted && !busy.watched;
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
  return size_t{size_} * sizeof(Frame) + busy_.touched_bytes() + regions_.size_bytes();
}

}  // namespace fixpool::storage
