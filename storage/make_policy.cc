#include "fixpool/storage/make_policy.h"

#include <algorithm>

#include "fixpool/storage/clock_policy.h"
#include "fixpool/storage/lru_policy.h"
#include "fixpool/storage/s3_fifo_policy.h"

namespace fixpool::storage {

std::unique_ptr<ReplacementPolicy> MakePolicy(PolicyKind kind, uint32_t frame_count,
                                              uint32_t max_frames, uint32_t most_frames) {
  most_frames = std::max(most_frames, max_frames);
  switch (kind) {
    case PolicyKind::kClock:
      return std::make_unique<ClockPolicy>(frame_count, max_frames, most_frames);
    case PolicyKind::kLru:
      return std::make_unique<LruPolicy>(frame_count, max_frames, most_frames);
    case PolicyKind::kS3Fifo:
      break;
  }
  return std::make_unique<S3FifoPolicy>(frame_count, max_frames, most_frames);
}

}  // namespace fixpool::storage
