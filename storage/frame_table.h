#ifndef FIXPOOL_STORAGE_FRAME_TABLE_H_
#define FIXPOOL_STORAGE_FRAME_TABLE_H_

#include "fixpool/io/require_cpp20.h"

#include <cstdint>
#include <vector>

#include "fixpool/storage/frame.h"

namespace fixpool::storage {

// All frames of a cache, those of them that are free, and how many there are of each kind.
//
//   FrameIndex index = frames.TakeFree();
//   FrameTable::Edit frame(frames, index);
//   frame->state = FrameState::kLoading;                // counted when `frame` goes
//
// Invariant: free + clean + dirty + in_flight == size() whenever no Edit is alive.
// Nothing allocates after construction. Guarded by the cache's lock.
class FrameTable {
 public:
  struct Counts {
    uint32_t free = 0;
    uint32_t clean = 0;
    uint32_t dirty = 0;  // failing ones included
    uint32_t in_flight = 0;
    uint32_t pinned = 0;
    uint32_t evictable = 0;  // clean and not pinned
    uint32_t writable = 0;   // dirty, not pinned, and not failing
    uint32_t failing = 0;    // dirty, and the last write failed

    friend bool operator==(const Counts&, const Counts&) = default;
  };

  // The only way to change a frame. One at a time for each frame.
  class [[nodiscard]] Edit {
   public:
    Edit(FrameTable& table, FrameIndex index) : table_(table), frame_(table.at(index)) {
      table_.Count(frame_, -1);
    }
    ~Edit() { table_.Count(frame_, 1); }
    Edit(const Edit&) = delete;
    Edit& operator=(const Edit&) = delete;
    Frame* operator->() const { return &frame_; }

   private:
    FrameTable& table_;
    Frame& frame_;
  };

  // One free frame for each of `handles`.
  explicit FrameTable(const std::vector<arena::PageHandle>& handles);

  uint32_t size() const { return static_cast<uint32_t>(frames_.size()); }
  const Frame& operator[](FrameIndex index) const { return frames_[ToInt(index)]; }
  const Counts& counts() const { return counts_; }

  // kNoFrame: none is free. The caller gives it a state other than kFree at once.
  FrameIndex TakeFree();
  // The frame holds nothing that anybody needs: neither pinned nor dirty nor in flight, but
  // for a failed read that nobody waits for any more (CHECKed).
  void PutFree(FrameIndex index);

 private:
  Frame& at(FrameIndex index) { return frames_[ToInt(index)]; }
  void Count(const Frame& frame, int sign);

  std::vector<Frame> frames_;
  std::vector<FrameIndex> free_;  // a stack
  Counts counts_;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_FRAME_TABLE_H_
