#ifndef FIXPOOL_STORAGE_FRAME_QUEUE_H_
#define FIXPOOL_STORAGE_FRAME_QUEUE_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/frame_array.h"
#include "fixpool/storage/frame_index.h"

namespace fixpool::storage {

// A queue of frames, from the oldest to the newest, that any frame can leave from anywhere.
//
//   FrameQueue::Links links(frame_count);
//   FrameQueue fifo(links), other(links);
//   fifo.PushNewest(frame);
//   other.PushNewest(fifo.PopOldest());
//
// Queues over the same links share 8 bytes for each frame, which is in one of them at most;
// who uses them knows in which. Nothing allocates but the links, which take memory for frames that
// were in a queue (see FrameArray). Guarded by the policy's lock.
class FrameQueue {
 public:
  class Links {
   public:
    explicit Links(uint32_t frames) : links_(frames) {}
    // As FrameArray.
    Links(uint32_t frames, uint32_t most_frames) : links_(frames, most_frames) {}
    absl::Status MakeRoom(uint32_t frames) { return links_.MakeRoom(frames); }
    // None of the frames from `end` on is in a queue; their memory is given back.
    void DiscardFrom(uint32_t end) { links_.DiscardFrom(end); }
    static constexpr size_t BytesFor(uint32_t frames) { return frames * sizeof(Link); }

   private:
    friend class FrameQueue;
    // A frame's number and 1, so that zero is none.
    class End {
     public:
      constexpr End() = default;
      constexpr End(FrameIndex frame) : number_(ToInt(frame) + 1) {}  // NOLINT: implicit
      constexpr operator FrameIndex() const { return FrameIndex{number_ - 1}; }

     private:
      uint32_t number_ = 0;
    };
    struct Link {
      End older;
      End newer;
    };
    Link& operator[](FrameIndex frame) { return links_[frame]; }
    const Link& operator[](FrameIndex frame) const { return links_[frame]; }

    FrameArray<Link> links_;
  };

  // `links` must outlive the queue.
  explicit FrameQueue(Links& links) : links_(&links) {}

  uint32_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  // kNoFrame: it is empty.
  FrameIndex oldest() const { return oldest_; }
  // Of a frame in the queue, the one that came after it; kNoFrame: none.
  FrameIndex NewerThan(FrameIndex frame) const { return (*links_)[frame].newer; }

  // The frame is in no queue.
  void PushNewest(FrameIndex frame) {
    (*links_)[frame] = {.older = newest_, .newer = kNoFrame};
    SetNewer(newest_, frame);
    newest_ = frame;
    ++size_;
  }
  void PushOldest(FrameIndex frame) {
    (*links_)[frame] = {.older = kNoFrame, .newer = oldest_};
    SetOlder(oldest_, frame);
    oldest_ = frame;
    ++size_;
  }
  // The frame is in this queue.
  void Remove(FrameIndex frame) {
    const Links::Link link = (*links_)[frame];
    SetNewer(link.older, link.newer);
    SetOlder(link.newer, link.older);
    --size_;
  }
  // The frame is in this queue, and `by` in none, which is to have its place.
  void Replace(FrameIndex frame, FrameIndex by) {
    const Links::Link link = (*links_)[frame];
    (*links_)[by] = link;
    SetNewer(link.older, by);
    SetOlder(link.newer, by);
  }
  // The queue is not empty.
  FrameIndex PopOldest() {
    const FrameIndex frame = oldest_;
    Remove(frame);
    return frame;
  }

 private:
  // The neighbour of `frame`; of kNoFrame, the queue's end on that side.
  void SetNewer(FrameIndex frame, FrameIndex newer) {
    if (frame == kNoFrame) {
      oldest_ = newer;
    } else {
      (*links_)[frame].newer = newer;
    }
  }
  void SetOlder(FrameIndex frame, FrameIndex older) {
    if (frame == kNoFrame) {
      newest_ = older;
    } else {
      (*links_)[frame].older = older;
    }
  }

  Links* links_;
  FrameIndex oldest_ = kNoFrame;
  FrameIndex newest_ = kNoFrame;
  uint32_t size_ = 0;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_FRAME_QUEUE_H_
