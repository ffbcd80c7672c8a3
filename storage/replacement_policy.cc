#include "fixpool/storage/replacement_policy.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "fixpool/io/check.h"

namespace fixpool::storage {

ReplacementPolicy::ReplacementPolicy(const Options& options)
    : needs_every_hit_(options.needs_every_hit),
      max_frames_(options.max_frames),
      heat_(options.max_frames, options.most_frames),
      frame_count_(options.frame_count) {
  FIXPOOL_CHECK(frame_count_ >= 1 && frame_count_ <= max_frames_,
                absl::StrCat("a policy for ", frame_count_, " of ", max_frames_, " frames"));
}

void ReplacementPolicy::SetFrameCount(uint32_t frame_count) {
  FIXPOOL_CHECK(frame_count >= 1 && frame_count <= max_frames_,
                absl::StrCat("a policy for ", frame_count, " of ", max_frames_, " frames"));
  frame_count_ = frame_count;
  OnFrameCount();
}

absl::Status ReplacementPolicy::MakeRoom(uint32_t max_frames) {
  FIXPOOL_CHECK(max_frames >= max_frames_, "a policy for fewer frames than it was made for");
  if (absl::Status status = heat_.MakeRoom(max_frames); !status.ok()) return status;
  if (absl::Status status = OnMakeRoom(max_frames); !status.ok()) return status;
  max_frames_ = max_frames;
  return absl::OkStatus();
}

void ReplacementPolicy::DiscardFrom(uint32_t end) {
  heat_.DiscardFrom(end);
  OnDiscardFrom(end);
  max_frames_ = std::min(max_frames_, std::max(end, frame_count_));
}

bool ReplacementPolicy::OnHit(FrameIndex, Hint) { return false; }

}  // namespace fixpool::storage
