#ifndef FIXPOOL_STORAGE_FRAME_ADDRESSES_H_
#define FIXPOOL_STORAGE_FRAME_ADDRESSES_H_

#include "fixpool/io/require_cpp20.h"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fixpool/storage/frame_index.h"

namespace fixpool::storage {

// Where each frame's memory is.
//
// Frames lie in blocks of 2^shift that follow each other in memory, so that a small table says
// where all are: one with an entry for each frame would be one more thing to fetch from memory
// on every hit. A block that the frames do not fill has holes, which are nobody's frames; the
// shift is the largest that leaves at most a 64th of all numbers to holes: there are tables with
// a place for each number.
// Immutable; thread-safe.
class FrameAddresses {
 public:
  // `pages`: what there is, in any order, each once, each at a multiple of page_bytes (a power
  // of two).
  FrameAddresses(std::vector<std::byte*> pages, uint32_t page_bytes);

  // The same as a value, for who looks often: one load less.
  class View {
   public:
    std::byte* operator[](FrameIndex frame) const {
      const uint32_t index = ToInt(frame);
      return blocks_[index >> shift_] + (size_t{index & mask_} << page_shift_);
    }
    // Frames and holes: what may be asked for.
    uint32_t size() const { return size_; }

   private:
    friend class FrameAddresses;
    std::byte* const* blocks_;
    int shift_;
    uint32_t mask_;
    int page_shift_;
    uint32_t size_;
  };
  View view() const {
    View view;
    view.blocks_ = blocks_.data();
    view.shift_ = shift_;
    view.mask_ = mask_;
    view.page_shift_ = page_shift_;
    view.size_ = size();
    return view;
  }

  std::byte* operator[](FrameIndex frame) const { return view()[frame]; }
  // The frame that begins there, which is one of `pages`.
  FrameIndex IndexOf(const std::byte* page) const;
  // Frames and holes.
  uint32_t size() const { return static_cast<uint32_t>(blocks_.size()) << shift_; }
  size_t size_bytes() const { return blocks_.size() * sizeof(blocks_[0]); }

 private:
  uintptr_t BlockOf(const std::byte* page) const {
    return reinterpret_cast<uintptr_t>(page) >> page_shift_ >> shift_;
  }

  int page_shift_;
  int shift_ = 0;
  uint32_t mask_ = 0;
  std::vector<std::byte*> blocks_;  // in the order of addresses
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_FRAME_ADDRESSES_H_
