#ifndef FIXPOOL_STORAGE_FRAME_H_
#define FIXPOOL_STORAGE_FRAME_H_

#include <cstdint>
#include <type_traits>

#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/frame_index.h"
#include "fixpool/storage/page_id.h"

namespace fixpool::storage {

enum class FrameState : uint8_t {
  kHole,      // nobody's frame: see FrameAddresses
  kFree,      // holds no page
  kLoading,   // its page is being read, and nobody looks at the bytes; or could not be read (see
              // BusyFrame), is in no translation any more, and is kept until all have the error
  kResident,  // holds its page
};

// One page's worth of memory and what it holds. A value of FrameTable, which keeps counts of
// frames by kind: fields are changed by it alone, or through FrameTable::Edit. What is to be known
// of a frame only while something special is the matter with it is in its BusyFrame.
//
// Shape: 16 bytes; zeros are a hole. The page's file is named by its slot alone, since it is open
// as long as a frame holds a page of it.
// Guarded by the cache's lock. But `dirty` may be read by who holds the page exclusively:
// `page_low` keeps it apart from the bits before, and nobody writes it or its neighbour meanwhile.
struct Frame {
  static constexpr int kPageBits = 51;  // 2^63 bytes of 4 KiB pages
  static constexpr int kSlotBits = 16;  // PageFileTable::kMaxFiles
  static constexpr int kBusyBits = 26;  // PageWord::kFrameBits

  uint64_t page_high : kPageBits - 32;
  uint64_t file_slot : kSlotBits;
  uint64_t busy : kBusyBits;  // of its BusyFrame; 0: there is none, all is calm
  FrameState state : 2;
  bool closing : 1;               // its file is being closed, or its place in it (FileChanges): its
                                  // word stays guarded, and it is neither written nor moved
  uint32_t page_low;              // kFree, in the list of those: the next one
  uint32_t generation_half : 31;  // of its page in the arena; that is odd
  bool dirty : 1;  // kResident: the bytes are newer than what was written last. Never
                   // together with latch.write_back(): a write takes it off when it
                   // starts, and puts it back when it fails

  // It holds a page, or is about to. The name of the last one can be read until the frame is put
  // in the list of free ones.
  bool holds_page() const { return state >= FrameState::kLoading; }
  PageNumber page_number() const { return uint64_t{page_high} << 32 | page_low; }
  bool HoldsPageOf(FileId file) const { return holds_page() && file_slot == file.slot(); }
  void set_page(const PageId& page) {
    page_high = page.page_number >> 32;
    page_low = static_cast<uint32_t>(page.page_number);
    file_slot = page.file.slot();
  }
  uint32_t generation() const { return generation_half << 1 | 1; }
};

static_assert(sizeof(Frame) == 16 && std::is_trivial_v<Frame>);

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_FRAME_H_
