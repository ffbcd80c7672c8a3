#include "fixpool/storage/frame_table.h"

#include "absl/status/status.h"
#include "fixpool/io/check.h"

namespace fixpool::storage {

FrameTable::FrameTable(const std::vector<arena::PageHandle>& handles) : frames_(handles.size()) {
  free_.reserve(handles.size());
  for (uint32_t i = size(); i-- > 0;) {
    frames_[i].handle = handles[i];
    free_.push_back(FrameIndex{i});
  }
  counts_.free = size();
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
    FIXPOOL_CHECK(!frame->pinned() && !frame->dirty && !frame->latch.write_back(),
                  "a frame was freed that is still in use");
    frame->state = FrameState::kFree;
    frame->page = PageId();
    frame->write_failed = false;
    frame->error = absl::OkStatus();
  }
  free_.push_back(index);
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
