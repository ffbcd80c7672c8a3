#ifndef FIXPOOL_STORAGE_FRAME_TABLE_H_
#define FIXPOOL_STORAGE_FRAME_TABLE_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "fixpool/arena/page_handle.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/frame.h"
#include "fixpool/storage/frame_index.h"
#include "fixpool/storage/page_word.h"
#include "fixpool/storage/zeroed_memory.h"

namespace fixpool::storage {

// All frames of a cache, those of them that are free, and how many there are of each kind.
//
//   FrameIndex index = frames.TakeFree();
//   FrameTable::Edit frame(frames, index);
//   frame->state = FrameState::kLoading;                // counted when `frame` goes
//
// A page in memory has a word, by which others find, hold and let go of it without the cache's
// lock. Before anything is read from or done to the frame of such a page that has to do with
// who holds it, the word is captured: from then on nothing happens to it without the lock, and
// those who hold the page are in Frame::latch. When nobody has it captured any more and
// nothing special is the matter (nobody waits, nothing is in flight), they go back to the word.
//
// Frames come (Add) and go: one that is leaving is given to nobody any more, and when it has become
// free it can be removed.
//
// Invariant: free + clean + dirty + in_flight == frame_count() whenever no Edit is alive.
// Nothing allocates after construction, but for Add. Guarded by the cache's lock.
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

  // Captures the word of the frame's page, if it has one, for its own lifetime. Any number.
  class [[nodiscard]] Capture {
   public:
    Capture(FrameTable& table, FrameIndex index) : table_(table), frame_(table.at(index)) {
      table_.BeginCapture(frame_);
    }
    ~Capture() { table_.EndCapture(frame_); }
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;

   private:
    FrameTable& table_;
    Frame& frame_;
  };

  // The only way to change a frame, captured. One at a time for each frame.
  class [[nodiscard]] Edit {
   public:
    Edit(FrameTable& table, FrameIndex index)
        : capture_(table, index), table_(table), frame_(table.at(index)) {
      table_.Count(frame_, -1);
    }
    ~Edit() { table_.Count(frame_, 1); }
    Edit(const Edit&) = delete;
    Edit& operator=(const Edit&) = delete;
    Frame* operator->() const { return &frame_; }

   private:
    const Capture capture_;
    FrameTable& table_;
    Frame& frame_;
  };

  struct Place {
    FrameIndex index;
    arena::PageHandle handle;
  };

  // Room for frames below `max_size`, of which those in `places` are there, free; the others are
  // holes, which look like free frames that nobody is ever given. `epoch` must outlive the table.
  // CHECKs that there is address space, and memory for these (PageCache::Create looks first).
  FrameTable(uint32_t max_size, absl::Span<const Place> places, VersionEpoch* epoch);
  ~FrameTable();
  FrameTable(const FrameTable&) = delete;
  FrameTable& operator=(const FrameTable&) = delete;

  // For frames below `size`. ResourceExhausted: as ZeroedMemory.
  absl::Status MakeRoom(uint32_t size) { return memory_.MakeAccessible(size * sizeof(Frame)); }
  // Holes that become free frames; there is room.
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

  // Frames and holes: all frames are below. Those from here on look like holes.
  uint32_t size() const { return size_; }
  uint32_t frame_count() const { return frame_count_; }
  const Frame& operator[](FrameIndex index) const { return frames_[ToInt(index)]; }
  const Counts& counts() const { return counts_; }

  // How many TakeFree has to give.
  uint32_t available() const { return static_cast<uint32_t>(free_.size()); }
  // kNoFrame: none is free. The caller gives it a state other than kFree at once.
  FrameIndex TakeFree();
  // The frame holds nothing that anybody needs: neither pinned nor dirty nor in flight, but
  // for a failed read that nobody waits for any more (CHECKed). One that is leaving stays free, and
  // is given to nobody.
  void PutFree(FrameIndex index);

  // The frame's page is found through `word` from now on, which is that of an absent page.
  void Bind(FrameIndex index, AtomicPageWord* word);
  // It is not any more.
  void Unbind(FrameIndex index);
  // Makes `to`, which is free and was taken, what `from` is, and `from` free and taken. Nobody
  // holds or waits for the page, and no transfer of it is in flight; no word leads to either.
  void MoveContents(FrameIndex from, FrameIndex to);
  // The page is held and somebody needs a frame: who lets go of it will take the lock. Within
  // a Capture.
  void SetWanted(FrameIndex index) { at(index).wanted = true; }

  // Whether the page was changed since it was written, for who holds it exclusively: then
  // nobody changes that.
  bool IsDirtyUnderMyLatch(FrameIndex index) const { return frames_[ToInt(index)].dirty; }

 private:
  Frame& at(FrameIndex index) { return frames_[ToInt(index)]; }
  void Count(const Frame& frame, int sign);
  void BeginCapture(Frame& frame);
  void EndCapture(Frame& frame);
  // Writes the word anew, and leaves it to everybody if that can be.
  void Publish(Frame& frame);
  FrameIndex IndexOf(const Frame& frame) const {
    return FrameIndex{static_cast<uint32_t>(&frame - frames_)};
  }

  void GrowTo(uint32_t size);

  VersionEpoch* const epoch_;
  uint32_t frame_count_ = 0;
  ZeroedMemory memory_;
  Frame* const frames_;
  uint32_t size_ = 0;
  std::vector<FrameIndex> free_;  // a stack
  std::vector<bool> leaving_;     // by frame
  uint32_t leaving_count_ = 0;
  Counts counts_;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_FRAME_TABLE_H_
