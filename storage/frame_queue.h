#ifndef FIXPOOL_STORAGE_FRAME_QUEUE_H_
#define FIXPOOL_STORAGE_FRAME_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/frame.h"

namespace fixpool::storage {

// A queue of frames, from the oldest to the newest, that any frame can leave from anywhere.
//
//   FrameQueue::Links links(frame_count);
//   FrameQueue fifo(links), other(links);
//   fifo.PushNewest(frame);
//   other.PushNewest(fifo.PopOldest());
//
// Queues over the same links share 8 bytes for each frame, which is in one of them at most;
// who uses them knows in which. Nothing allocates but the links. Guarded by the policy's lock.
class FrameQueue {
 public:
  class Links {
   public:
    explicit Links(uint32_t frame_count) : links_(frame_count) {}
    size_t size_bytes() const { return links_.size() * sizeof(Link); }

   private:
    friend class FrameQueue;
    struct Link {
      FrameIndex older = kNoFrame;
      FrameIndex newer = kNoFrame;
    };
    Link& operator[](FrameIndex frame) { return links_[ToInt(frame)]; }
    const Link& operator[](FrameIndex frame) const { return links_[ToInt(frame)]; }

    std::vector<Link> links_;  // by frame
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
    (newest_ == kNoFrame ? oldest_ : (*links_)[newest_].newer) = frame;
    newest_ = frame;
    ++size_;
  }
  void PushOldest(FrameIndex frame) {
    (*links_)[frame] = {.older = kNoFrame, .newer = oldest_};
    (oldest_ == kNoFrame ? newest_ : (*links_)[oldest_].older) = frame;
    oldest_ = frame;
    ++size_;
  }
  // The frame is in this queue.
  void Remove(FrameIndex frame) {
    const Links::Link link = (*links_)[frame];
    (link.older == kNoFrame ? oldest_ : (*links_)[link.older].newer) = link.newer;
    (link.newer == kNoFrame ? newest_ : (*links_)[link.newer].older) = link.older;
    --size_;
  }
  // The queue is not empty.
  FrameIndex PopOldest() {
    const FrameIndex frame = oldest_;
    Remove(frame);
    return frame;
  }

 private:
  Links* links_;
  FrameIndex oldest_ = kNoFrame;
  FrameIndex newest_ = kNoFrame;
  uint32_t size_ = 0;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_FRAME_QUEUE_H_
