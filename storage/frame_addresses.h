#ifndef FIXPOOL_STORAGE_FRAME_ADDRESSES_H_
#define FIXPOOL_STORAGE_FRAME_ADDRESSES_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/frame_index.h"
#include "fixpool/storage/zeroed_memory.h"

namespace fixpool::storage {

// Where each frame's memory is, while memory comes and goes.
//
//   auto addresses = FrameAddresses::Create(pages, {.page_bytes = 4096, .max_frames = 1 << 20});
//   std::byte* data = (*addresses)[addresses->IndexOf(pages[7])];
//   addresses->Add(more_pages);                              // while others look
//
// Frames lie in blocks of 2^shift that follow each other in memory, so that a small table says
// where all are: one with an entry for each frame would be one more thing to fetch from memory
// on every hit. A block that the frames do not fill has holes, which are nobody's frames; the
// shift is the largest, up to kLargestShift and max_block_bytes, that leaves at most a 64th of
// all numbers to holes. Blocks are numbered in the order in which they were first named. The table
// is reserved for all the frames that there can be, so that it stays where it is, as the shift
// does; an entry is written once. So an address has the same number for ever: who looks at a frame
// that has gone finds the addresses that were its, and memory that comes back to them has the
// numbers that it had. Move-only. Threads: operator[] and View any, for frames whose number they
// have from somebody who had it after Add returned; all else one at a time.
class FrameAddresses {
 public:
  static constexpr int kLargestShift = 12;
  static constexpr uint32_t kLargestBlock = 1u << kLargestShift;  // frames

  struct Options {
    uint32_t page_bytes = 0;  // a power of two
    // Frames and holes, in all. Address space of 8 bytes for each block of them.
    uint32_t max_frames = 0;
    // What memory that comes later is whole multiples of, at addresses that are, too; or a few
    // times that, where holes at either end do not matter.
    size_t max_block_bytes = size_t{2} << 20;
  };

  // What a reader needs: a copy stays as good as the original, which outlives it.
  class View {
   public:
    std::byte* operator[](FrameIndex frame) const {
      const uint32_t index = ToInt(frame);
      return blocks_[index >> shift_].load(std::memory_order_relaxed) +
             (size_t{index & mask_} << page_shift_);
    }
    // All numbers that a frame can ever have are below this. Only those that one has or had may be
    // looked up.
    uint32_t size() const { return size_; }

   private:
    friend class FrameAddresses;
    View() = default;

    const std::atomic<std::byte*>* blocks_ = nullptr;
    int shift_ = 0;
    int page_shift_ = 0;
    uint32_t mask_ = 0;
    uint32_t size_ = 0;
  };

  // `pages`: what there is now, each once, each at a multiple of page_bytes.
  // ResourceExhausted: more than max_frames with their holes, or no address space.
  static absl::StatusOr<FrameAddresses> Create(absl::Span<std::byte* const> pages,
                                               const Options& options);
  FrameAddresses(FrameAddresses&&) = default;

  // More pages, or pages that were there before. ResourceExhausted: as Create; nothing has changed.
  absl::Status Add(absl::Span<std::byte* const> pages);

  const View& view() const { return view_; }
  std::byte* operator[](FrameIndex frame) const { return view_[frame]; }
  // The frame that begins there, which is one of the pages that there are or were.
  FrameIndex IndexOf(const std::byte* page) const;
  // Frames and holes up to now.
  uint32_t size() const { return static_cast<uint32_t>(known_.size()) << view_.shift_; }
  uint32_t max_size() const { return view_.size_; }
  size_t size_bytes() const { return known_.size() * (sizeof(std::byte*) + sizeof(Known)); }

 private:
  struct Known {
    uintptr_t block;
    uint32_t number;
  };

  FrameAddresses(ZeroedMemory table, const View& view) : table_(std::move(table)), view_(view) {}

  static int ChooseShift(absl::Span<std::byte* const> pages, const Options& options);
  uintptr_t BlockOf(const std::byte* page) const {
    return reinterpret_cast<uintptr_t>(page) >> view_.page_shift_ >> view_.shift_;
  }
  // Null: never heard of.
  const Known* Find(uintptr_t block) const;

  ZeroedMemory table_;
  View view_;
  std::vector<Known> known_;  // by block
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_FRAME_ADDRESSES_H_
