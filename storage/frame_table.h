#ifndef FIXPOOL_STORAGE_FRAME_TABLE_H_
#define FIXPOOL_STORAGE_FRAME_TABLE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "fixpool/arena/page_handle.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/busy_frame.h"
#include "fixpool/storage/busy_frame_pool.h"
#include "fixpool/storage/frame.h"
#include "fixpool/storage/frame_regions.h"
#include "fixpool/storage/page_word.h"
#include "fixpool/storage/page_words.h"
#include "fixpool/storage/zeroed_memory.h"

namespace fixpool::storage {

// All frames of a cache, those of them that are free, and how many there are of each kind.
//
//   FrameIndex index = frames.TakeFree();
//   FrameTable::Edit frame(frames, index);
//   frame->state = FrameState::kLoading;                // counted when `frame` goes
//   frame.busy().attached = 1;
//
// A page in memory has a word, by which others find, hold and let go of it without the cache's
// lock. Before anything is read from or done to the frame of such a page that has to do with
// who holds it, the word is captured: from then on nothing happens to it without the lock, and
// those who hold the page are in BusyFrame::latch. When nobody has it captured any more and
// nothing special is the matter (nobody waits, nothing is in flight), they go back to the word,
// and the BusyFrame goes.
//
// Shape: 16 bytes a frame, and a cache line for each that is busy at a time.
// Frames come (Add) and go: one that is leaving is given to nobody any more, and when it has become
// free it can be removed, which leaves a hole.
// Invariants: free + clean + dirty + in_flight == frame_count() whenever no Edit is alive. A frame
// that has no BusyFrame is a hole, or free, or resident and found through its word.
// Nothing allocates after construction but MakeRoom and Add. Guarded by the cache's lock.
class FrameTable {
 public:
  struct Counts {
    uint32_t free = 0;
    uint32_t clean = 0;
    uint32_t dirty = 0;  // failing ones included
    uint32_t in_flight = 0;
    // The rest as far as is known here, which is not who holds pages that are not captured.
    uint32_t pinned = 0;
    uint32_t evictable = 0;  // clean and not pinned
    uint32_t writable = 0;   // dirty, not pinned, and not failing
    uint32_t failing = 0;    // dirty, and the last write failed

    friend bool operator==(const Counts&, const Counts&) = default;
  };

  // Captures the word of the frame's page, if it has one, for its own lifetime, which ends before
  // the lock is given back: what others see of the word is written when it does. Any number.
  class [[nodiscard]] Capture {
   public:
    Capture(FrameTable& table, FrameIndex index)
        : table_(table), index_(index), busy_(table.BeginCapture(table.at(index))) {}
    ~Capture() { table_.EndCapture(index_, busy_); }
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;
    const BusyFrame& busy() const { return busy_; }

   private:
    FrameTable& table_;
    const FrameIndex index_;
    BusyFrame& busy_;
  };

  // The way to change a frame, captured. One at a time for each frame.
  class [[nodiscard]] Edit {
   public:
    Edit(FrameTable& table, FrameIndex index)
        : table_(table),
          index_(index),
          frame_(table.at(index)),
          busy_(table.BeginCapture(frame_)),
          kind_(KindOf(frame_, busy_)) {}
    ~Edit() {
      table_.Recount(kind_, KindOf(frame_, busy_));
      table_.EndCapture(index_, busy_);
    }
    Edit(const Edit&) = delete;
    Edit& operator=(const Edit&) = delete;
    Frame* operator->() const { return &frame_; }
    BusyFrame& busy() const { return busy_; }

   private:
    FrameTable& table_;
    const FrameIndex index_;
    Frame& frame_;
    BusyFrame& busy_;
    const int kind_;
  };

  struct Place {
    FrameIndex index;
    arena::PageHandle handle;  // of a live page
  };

  // Address space for a table of up to `most` places, and memory for the first `size`, which takes
  // some where frames are put.
  class Memory {
   public:
    // ResourceExhausted: there is none. `size` is at least 1, and `most` not less.
    static absl::StatusOr<Memory> Reserve(uint32_t size, uint32_t most);
    static absl::StatusOr<Memory> Reserve(uint32_t size) { return Reserve(size, size); }

   private:
    friend class FrameTable;
    Memory(ZeroedMemory frames, BusyFramePool busy);

    ZeroedMemory frames_;
    BusyFramePool busy_;
  };

  // Of the places in `memory` those in `places` are frames, free; the others are holes, which
  // nobody is ever given. `words` must outlive the table.
  FrameTable(Memory memory, std::vector<Place> places, PageWords* words);

  // For frames below `size`. ResourceExhausted: as ZeroedMemory; nothing has changed.
  absl::Status MakeRoom(uint32_t size);
  // Holes that become free frames; there is room (CHECKed).
  void Add(absl::Span<const Place> places);
  // From now on these frames, none of which TakeFree has just given, are leaving. As many steps as
  // there are free frames, and of these.
  void Leave(absl::Span<const FrameIndex> frames);
  // Those of them that are leaving, still, are not any more.
  void Stay(absl::Span<const FrameIndex> frames);
  bool leaving(FrameIndex index) const { return leaving_count_ > 0 && leaving_[ToInt(index)]; }
  uint32_t leaving_count() const { return leaving_count_; }
  // A frame that is leaving and free becomes a hole. Its handle is the caller's again.
  arena::PageHandle Remove(FrameIndex index);
  // Makes size() as small as can be, by up to `most`, and gives memory back. False: it is.
  bool Trim(uint32_t most);
  // Makes `to`, which is free and was taken, what `from` is, and `from` free and taken. Nobody
  // holds or waits for the page, and no transfer of it is in flight; no word leads to either.
  void MoveContents(FrameIndex from, FrameIndex to);

  // Frames and holes: all frames are below. Those from here on look like holes.
  uint32_t size() const { return size_; }
  uint32_t frame_count() const { return frame_count_; }
  const Frame& operator[](FrameIndex index) const { return frames_[ToInt(index)]; }
  // While the frame is captured, or nothing is done to it, the same one.
  const BusyFrame& Busy(FrameIndex index) const { return BusyOf(frames_[ToInt(index)]); }
  // To be checked before each transfer. Of a hole there is none.
  arena::PageHandle HandleOf(FrameIndex index) const {
    return regions_.HandleOf(index, frames_[ToInt(index)].generation());
  }
  // The word of the page in the frame; null: no translation leads there.
  AtomicPageWord* WordOf(FrameIndex index) const;
  Counts counts() const;

  // As far as is known here: see BusyFrame::pinned.
  bool IsPinned(FrameIndex index) const { return Busy(index).pinned(); }
  // The same, and those whom the page's word tells of.
  bool IsPinnedOrHeld(FrameIndex index) const;
  bool IsInFlight(FrameIndex index) const {
    const Frame& frame = frames_[ToInt(index)];
    return IsInFlight(frame, BusyOf(frame));
  }

  // How many TakeFree has to give.
  uint32_t available() const { return available_; }
  // kNoFrame: none is free. The caller gives it a state other than kFree at once.
  FrameIndex TakeFree();
  // The frame holds nothing that anybody needs: neither pinned nor dirty nor in flight, but
  // for a failed read that nobody waits for any more (CHECKed). One that is leaving stays free, and
  // is given to nobody.
  void PutFree(FrameIndex index);
  // If the frame holds a page that is clean and held by nobody, and nothing special is the matter
  // with it, then the page leaves, and the frame is as if it came from TakeFree: the common case of
  // capturing, looking, unbinding and emptying it.
  bool TryVacate(FrameIndex index);

  // The frame's page is found through `word` from now on, which is that of an absent page.
  void Bind(FrameIndex index, AtomicPageWord* word);
  // It is not any more.
  void Unbind(FrameIndex index);
  // The page is held and somebody needs a frame: who lets go of it will take the lock. Within
  // a Capture.
  void SetWanted(FrameIndex index) { busy_[at(index).busy].wanted = true; }
  // Whoever accesses the page in the frame, which has a word, takes the lock for it, until this is
  // called off, or the page leaves the frame.
  void Watch(FrameIndex index);
  // Without effect if the frame holds another page by now, or none.
  void Unwatch(FrameIndex index, FileId file, PageNumber page);
  bool watched(FrameIndex index) const { return Busy(index).watched; }

  // The page was changed, says who holds it exclusively; for that it need not be captured.
  void MarkDirty(FrameIndex index);
  // Whether the page was changed since it was written, for who holds it exclusively: then
  // nobody changes that.
  bool IsDirtyUnderMyLatch(FrameIndex index) const { return frames_[ToInt(index)].dirty; }

  // That were ever busy at a time.
  size_t busy_bytes() const { return busy_.touched_bytes(); }
  // Of all tables here.
  size_t metadata_bytes() const;

 private:
  // What a frame is counted as: one of these, and 1 if it is pinned.
  enum Kind : int { kFree = 0, kClean = 2, kDirty = 4, kFailing = 6, kInFlight = 8, kKinds = 10 };

  static bool IsInFlight(const Frame& frame, const BusyFrame& busy) {
    return frame.state == FrameState::kLoading || busy.latch.write_back();
  }
  static int KindOf(const Frame& frame, const BusyFrame& busy) {
    const int pinned = busy.pinned() ? 1 : 0;
    if (IsInFlight(frame, busy)) return kInFlight + pinned;
    if (frame.state != FrameState::kResident) return kFree + pinned;
    if (!frame.dirty) return kClean + pinned;
    return (busy.write_failed ? kFailing : kDirty) + pinned;
  }
  uint32_t CountOf(Kind kind) const { return kinds_[kind] + kinds_[kind + 1]; }
  void Recount(int before, int after) {
    if (before == after) return;
    --kinds_[before];
    ++kinds_[after];
  }

  Frame& at(FrameIndex index) { return frames_[ToInt(index)]; }
  const BusyFrame& BusyOf(const Frame& frame) const {
    return frame.busy == 0 ? calm_ : busy_[frame.busy];
  }
  AtomicPageWord* FindWord(const Frame& frame) const {
    return words_->FindAny(frame.file_slot, frame.page_number());
  }
  void AddFrame(const Place& place);
  void PushFree(FrameIndex index);
  BusyFrame& BeginCapture(Frame& frame) {
    BusyFrame& busy = frame.busy == 0 ? MakeBusy(frame) : busy_[frame.busy];
    ++busy.captures;
    if (busy.word != nullptr && !busy.captured) Guard(frame, busy);
    return busy;
  }
  void EndCapture(FrameIndex index, BusyFrame& busy) {
    if (--busy.captures == 0) GiveUp(index, busy);
  }
  BusyFrame& MakeBusy(Frame& frame);
  void DropBusy(Frame& frame);
  // Turns everybody to the lock, and brings over those who hold the page.
  void Guard(Frame& frame, BusyFrame& busy);
  // Nobody has it captured any more.
  void GiveUp(FrameIndex index, BusyFrame& busy);
  // Writes the word anew, and leaves it to everybody if that can be.
  void Publish(FrameIndex index, Frame& frame, BusyFrame& busy);

  PageWords* const words_;
  uint32_t size_ = 0;
  uint32_t frame_count_ = 0;
  uint32_t available_ = 0;
  FrameIndex first_free_ = kNoFrame;  // a stack through Frame::page_low
  std::array<uint32_t, kKinds> kinds_{};
  ZeroedMemory frame_memory_;
  Frame* const frames_;
  BusyFramePool busy_;
  FrameRegions regions_;
  std::vector<bool> leaving_;  // by frame
  uint32_t leaving_count_ = 0;
  const BusyFrame calm_{};  // of frames that have none
};

inline FrameTable::Counts FrameTable::counts() const {
  return {.free = CountOf(kFree),
          .clean = CountOf(kClean),
          .dirty = CountOf(kDirty) + CountOf(kFailing),
          .in_flight = CountOf(kInFlight),
          .pinned = kinds_[kFree + 1] + kinds_[kClean + 1] + kinds_[kDirty + 1] +
                    kinds_[kFailing + 1] + kinds_[kInFlight + 1],
          .evictable = kinds_[kClean],
          .writable = kinds_[kDirty],
          .failing = CountOf(kFailing)};
}

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_FRAME_TABLE_H_
