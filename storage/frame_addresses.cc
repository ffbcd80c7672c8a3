#include "fixpool/storage/frame_addresses.h"

#include <algorithm>

namespace fixpool::storage {
namespace {

constexpr int kLargestShift = 12;

}  // namespace

FrameAddresses::FrameAddresses(std::vector<std::byte*> pages, uint32_t page_bytes)
    : page_shift_(std::countr_zero(page_bytes)) {
  std::sort(pages.begin(), pages.end());
  for (shift_ = kLargestShift;; --shift_) {
    size_t blocks = 0;
    uintptr_t last = 0;
    for (const std::byte* const page : pages) {
      if (blocks == 0 || BlockOf(page) != last) ++blocks;
      last = BlockOf(page);
    }
    if (shift_ == 0 || (blocks << shift_) - pages.size() <= pages.size() / 63) break;
  }
  mask_ = (1u << shift_) - 1;
  for (std::byte* const page : pages) {
    const size_t offset_bytes = (reinterpret_cast<uintptr_t>(page) >> page_shift_ & mask_)
                                << page_shift_;
    if (blocks_.empty() || blocks_.back() != page - offset_bytes) {
      blocks_.push_back(page - offset_bytes);
    }
  }
}

FrameIndex FrameAddresses::IndexOf(const std::byte* page) const {
  const auto after = std::upper_bound(blocks_.begin(), blocks_.end(), page);
  const auto block = static_cast<uint32_t>(after - blocks_.begin() - 1);
  return FrameIndex{
      (block << shift_) +
      static_cast<uint32_t>(static_cast<size_t>(page - blocks_[block]) >> page_shift_)};
}

}  // namespace fixpool::storage
