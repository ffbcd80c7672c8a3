#ifndef FIXPOOL_STORAGE_PAGE_WORD_H_
#define FIXPOOL_STORAGE_PAGE_WORD_H_

#include <atomic>
#include <cstdint>

#include "absl/base/optimization.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/frame_index.h"

namespace fixpool::storage {

// What one 64-bit word says of one page: in which frame it is, who holds it, and in which of
// its lives it is.
//
//   bits  0-25  frame, counted from 1; 0: the page is in none
//   bits 26-33  readers that hold it
//   bit  34     closed: its bytes may change at any moment (a writer holds it, or it is being
//               read from disk)
//   bit  35     guarded: only the cache's lock allows a change of this word; who holds the
//               page is written in its Frame, not here
//   bits 36-63  version: one more whenever a writer left the page or the page left its frame
//
// A page that nothing special happens to is not guarded, and is latched and let go of by one
// compare-and-swap of its word. Whoever needs more (waiting, writing back, evicting) takes the
// cache's lock and sets `guarded`; see FrameTable::Capture.
//
// The version has 28 bits, and a writer that does nothing else needs some 5 s to go once
// around. That is nothing that an optimistic reader could mistake for standing still: see
// VersionEpoch.
class PageWord {
 public:
  static constexpr int kFrameBits = 26;
  static constexpr uint32_t kMaxFrames = (1u << kFrameBits) - 1;
  static constexpr uint32_t kMaxReaders = 255;

  constexpr PageWord() = default;  // a page that was never in memory
  constexpr explicit PageWord(uint64_t bits) : bits_(bits) {}
  static constexpr PageWord Make(FrameIndex frame, uint32_t readers, bool closed, bool guarded,
                                 uint32_t version) {
    return PageWord(uint64_t{ToInt(frame) + 1} | uint64_t{readers} << kFrameBits |
                    (closed ? kClosed : 0) | (guarded ? kGuarded : 0) |
                    uint64_t{version} << kVersionShift);
  }
  static constexpr PageWord Absent(uint32_t version) {
    return PageWord(uint64_t{version} << kVersionShift);
  }

  constexpr uint64_t bits() const { return bits_; }
  constexpr bool present() const { return (bits_ & kFrameMask) != 0; }
  // present()
  constexpr FrameIndex frame() const {
    return FrameIndex{static_cast<uint32_t>(bits_ & kFrameMask) - 1};
  }
  constexpr uint32_t readers() const {
    return static_cast<uint32_t>(bits_ >> kFrameBits) & kMaxReaders;
  }
  constexpr bool closed() const { return (bits_ & kClosed) != 0; }
  constexpr bool guarded() const { return (bits_ & kGuarded) != 0; }
  constexpr uint32_t version() const { return static_cast<uint32_t>(bits_ >> kVersionShift); }

  // By anybody, if not guarded.
  constexpr bool held() const { return !guarded() && (closed() || readers() > 0); }

  // Whether an optimistic reader may begin.
  constexpr bool readable() const { return present() && !closed(); }
  // The same life of the same page as `earlier`, whoever reads it.
  constexpr bool SameLife(PageWord earlier) const {
    return ((bits_ ^ earlier.bits_) & ~(kReaderMask | kGuarded)) == 0;
  }
  // The same, where the one who asks is the writer.
  constexpr bool SameLifeUnderMyLatch(PageWord earlier) const {
    return ((bits_ ^ earlier.bits_) & ~(kReaderMask | kGuarded | kClosed)) == 0;
  }
  // One reader more. False: not without the lock.
  constexpr bool CanAddReader() const {
    return present() && (bits_ & (kClosed | kGuarded)) == 0 && readers() < kMaxReaders;
  }
  constexpr PageWord PlusReader() const { return PageWord(bits_ + kOneReader); }
  constexpr PageWord MinusReader() const { return PageWord(bits_ - kOneReader); }
  // A writer. False: not without the lock, or not now.
  constexpr bool CanClose() const {
    return present() && (bits_ & (kClosed | kGuarded | kReaderMask)) == 0;
  }
  constexpr PageWord Closed() const { return PageWord(bits_ | kClosed); }
  constexpr PageWord Opened() const { return PageWord((bits_ & ~kClosed) + kOneVersion); }
  constexpr PageWord Guarded() const { return PageWord((bits_ | kGuarded) & ~kReaderMask); }

  friend constexpr bool operator==(PageWord, PageWord) = default;

 private:
  static constexpr int kVersionShift = 36;
  static constexpr uint64_t kFrameMask = (uint64_t{1} << kFrameBits) - 1;
  static constexpr uint64_t kOneReader = uint64_t{1} << kFrameBits;
  static constexpr uint64_t kReaderMask = uint64_t{kMaxReaders} << kFrameBits;
  static constexpr uint64_t kClosed = uint64_t{1} << 34;
  static constexpr uint64_t kGuarded = uint64_t{1} << 35;
  static constexpr uint64_t kOneVersion = uint64_t{1} << kVersionShift;

  uint64_t bits_ = 0;
};

// Where a PageWord is kept. Zeroed memory is a valid one.
using AtomicPageWord = std::atomic<uint64_t>;

inline PageWord Load(const AtomicPageWord& word) {
  return PageWord(word.load(std::memory_order_acquire));
}

// Counts, for one cache, events after which a version may come again: a version that has gone
// half around, or words that were given back and begin at 0. Whoever remembers a version
// remembers the epoch from before, and believes in the version only while the epoch has not moved
// since. So no life of a page is taken for another, however long one waits.
// Thread-safe. Read by everybody, written about once in a hundred million changes.
class VersionEpoch {
 public:
  uint64_t Now() const { return epoch_.load(std::memory_order_acquire); }
  bool Vouches(uint64_t since) const { return Now() == since; }

  // Before a word with this version is published.
  void Published(uint32_t version) {
    if (ABSL_PREDICT_FALSE(version % kHalf == 0)) epoch_.fetch_add(1, std::memory_order_release);
  }
  // Before words are zeroed.
  void Restart() { epoch_.fetch_add(1, std::memory_order_release); }

 private:
  static constexpr uint32_t kHalf = 1u << 27;
  std::atomic<uint64_t> epoch_{0};
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_PAGE_WORD_H_
