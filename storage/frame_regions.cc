#include "fixpool/storage/frame_regions.h"

#include <algorithm>

namespace fixpool::storage {

size_t FrameRegions::CountUpTo(uint32_t frame) const {
  const auto after = std::upper_bound(runs_.begin(), runs_.end(), frame,
                                      [](uint32_t f, const Run& run) { return f < run.first; });
  return static_cast<size_t>(after - runs_.begin());
}

void FrameRegions::Set(FrameIndex frame, const arena::PageHandle& handle) {
  const uint32_t number = ToInt(frame);
  const Run wanted{.first = number, .offset = handle.page_index - number, .region = handle.region};
  end_ = std::max(end_, number + 1);
  size_t at = CountUpTo(number);  // where the run is to be that begins with this frame
  if (at > 0) {
    const Run before = runs_[at - 1];
    if (before.ContinuesAs(wanted)) return;
    // The frames behind this one stay what they were.
    if (number + 1 < end_ && (at == runs_.size() || runs_[at].first != number + 1)) {
      runs_.insert(runs_.begin() + at,
                   {.first = number + 1, .offset = before.offset, .region = before.region});
    }
    if (before.first == number) runs_.erase(runs_.begin() + --at);
  }
  if (at < runs_.size() && runs_[at].ContinuesAs(wanted)) {
    runs_[at].first = number;
  } else {
    runs_.insert(runs_.begin() + at, wanted);
  }
  if (at > 0 && runs_[at - 1].ContinuesAs(wanted)) runs_.erase(runs_.begin() + at);
}

arena::PageHandle FrameRegions::HandleOf(FrameIndex frame, uint32_t generation) const {
  const Run& run = runs_[CountUpTo(ToInt(frame)) - 1];
  return {.region = run.region, .page_index = ToInt(frame) + run.offset, .generation = generation};
}

}  // namespace fixpool::storage
