#ifndef FIXPOOL_STORAGE_FRAME_TABLE_H_
#define FIXPOOL_STORAGE_FRAME_TABLE_H_

#include "fixpool/io/require_cpp20.h"

#include <cstdint>
#include <vector>

#include "fixpool/storage/frame.h"
#include "fixpool/storage/page_word.h"

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
// Invariant: free + clean + dirty + in_flight == frame_count() whenever no Edit is alive.
// Nothing allocates after construction. Guarded by the cache's lock.
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

  // `size` places, of which those in `places` are frames, free; the others are holes, which
  // look like free frames that nobody is ever given. `epoch` must outlive the table.
  FrameTable(uint32_t size, const std::vector<Place>& places, VersionEpoch* epoch);

  // Frames and holes.
  uint32_t size() const { return static_cast<uint32_t>(frames_.size()); }
  uint32_t frame_count() const { return frame_count_; }
  const Frame& operator[](FrameIndex index) const { return frames_[ToInt(index)]; }
  const Counts& counts() const { return counts_; }

  // How many TakeFree has to give.
  uint32_t available() const { return static_cast<uint32_t>(free_.size()); }
  // kNoFrame: none is free. The caller gives it a state other than kFree at once.
  FrameIndex TakeFree();
  // The frame holds nothing that anybody needs: neither pinned nor dirty nor in flight, but
  // for a failed read that nobody waits for any more (CHECKed).
  void PutFree(FrameIndex index);

  // The frame's page is found through `word` from now on, which is that of an absent page.
  void Bind(FrameIndex index, AtomicPageWord* word);
  // It is not any more.
  void Unbind(FrameIndex index);
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
    return FrameIndex{static_cast<uint32_t>(&frame - frames_.data())};
  }

  VersionEpoch* const epoch_;
  uint32_t frame_count_;
  std::vector<Frame> frames_;
  std::vector<FrameIndex> free_;  // a stack
  Counts counts_;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_FRAME_TABLE_H_
