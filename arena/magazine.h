#ifndef FIXPOOL_ARENA_MAGAZINE_H_
#define FIXPOOL_ARENA_MAGAZINE_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <thread>

#include "absl/base/attributes.h"
#include "absl/base/optimization.h"
#include "fixpool/arena/free_page.h"
#include "fixpool/arena/page_store.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::arena {

// How many free runs of each order a magazine holds: up to 256 KiB of each, and at most 64 of
// one, so that a thread that goes to sleep keeps less than 2 MiB from the others' sight.
struct MagazineShape {
  static constexpr size_t kBytesPerOrder = size_t{256} << 10;
  static constexpr size_t kMostPerOrder = 64;
  static constexpr size_t kSlots = 128;

  explicit MagazineShape(size_t page_bytes) {
    for (int order = 0; order <= PageStore::kMaxOrder; ++order) {
      const size_t count = std::min(kBytesPerOrder / page_bytes >> order, kMostPerOrder);
      begin[order + 1] = static_cast<uint8_t>(begin[order] + count);
    }
  }
  size_t CapacityOf(int order) const { return begin[order + 1] - begin[order]; }

  std::array<uint8_t, PageStore::kMaxOrder + 2> begin{};  // of each order's slots
};

// A thread's own free pages: taken and given back without meeting another thread.
//
// Shape: for each order a stack of runs; none of the larger orders, see MagazineShape. Closed at
// first: Push and Pop then answer no, until its owner opens it.
//
// Threads: Push and Pop belong to one thread, the magazine's owner. No page may hide where only
// one thread finds it, so any other may take all pages out: it closes the magazine and waits until
// the owner is not inside Push or Pop. The two decide by a store and a load each, Dekker's way
// (busy_ and mode_), and what usually stands between the two, a full memory barrier, is for the
// thief alone to run, for all threads at once (io::ProcessBarrier), because owners come by a
// thousand times as often. Where the kernel has no such barrier the owner runs its own (kFenced).
// What "requires the lock" needs one lock, the same for all magazines of an arena.
// Source: J. Bonwick and J. Adams, Magazines and Vmem, USENIX 2001; membarrier(2).
class alignas(ABSL_CACHELINE_SIZE) Magazine {
 public:
  static constexpr uint64_t kNone = ~uint64_t{0};  // no FreePage: its generation would be odd
  // Who runs the barrier.
  enum class Barrier { kThief, kOwner };

  // False: there is no room, or it is closed.
  bool Push(const MagazineShape& shape, int order, FreePage page) {
    if (ABSL_PREDICT_FALSE(!Enter())) return false;
    const int place = PlaceFor(shape, order);
    if (place >= 0) PushInside(order, place, page);
    Leave();
    return place >= 0;
  }

  // nullopt: there is none, or it is closed.
  std::optional<FreePage> Pop(const MagazineShape& shape, int order) {
    const uint64_t word = PopPacked(shape, order);
    if (word == kNone) return std::nullopt;
    return FreePage::Unpack(word);
  }
  // The same packed, or kNone. Not an optional, which compilers build in memory piece by piece and
  // then load as a whole, and for that the processor waits (BM_PageArena_AllocateFree).
  uint64_t PopPacked(const MagazineShape& shape, int order) {
    if (ABSL_PREDICT_FALSE(!Enter())) return kNone;
    const uint64_t word = PopInside(shape, order);
    Leave();
    return word;
  }

  // Push in its parts, so that there can be something in between: Enter, which is false if it is
  // closed; PlaceFor, -1 if there is no room; PushInside; Leave. Nothing may happen in between that
  // takes long or waits for anybody.
  bool Enter() {
    busy_.store(1, std::memory_order_relaxed);
    // The thief's barrier is one between these two lines, but the compiler must leave them there.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    return ABSL_PREDICT_TRUE(mode_.load(std::memory_order_acquire) == kPlain) || EnterFenced();
  }
  int PlaceFor(const MagazineShape& shape, int order) const {
    const int place =
        static_cast<int>(shape.begin[order] + counts_[order].load(std::memory_order_relaxed));
    return ABSL_PREDICT_TRUE(place < shape.begin[order + 1]) ? place : -1;
  }
  void PushInside(int order, int place, FreePage page) {
    Put(order, place, page);
    // Not an addition that others must see as one step: nobody else writes it.
    pushes_.store(pushes_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
  void Leave() { busy_.store(0, std::memory_order_release); }

  // The same for an owner with the lock, which nobody interrupts, and whether open or closed.
  bool PushLocked(const MagazineShape& shape, int order, FreePage page) {
    const int place = PlaceFor(shape, order);
    if (place >= 0) Put(order, place, page);
    return place >= 0;
  }
  std::optional<FreePage> PopLocked(const MagazineShape& shape, int order) {
    const uint64_t word = PopInside(shape, order);
    if (word == kNone) return std::nullopt;
    return FreePage::Unpack(word);
  }

  // Lets the owner's Push and Pop go on. On the owner's thread; requires the lock.
  void Open(Barrier barrier) {
    mode_.store(barrier == Barrier::kThief ? kPlain : kFenced, std::memory_order_relaxed);
  }
  bool closed() const { return (mode_.load(std::memory_order_relaxed) & kClosed) != 0; }

  // From the next barrier on, the owner stays outside. Requires the lock.
  void Close() {
    mode_.store(mode_.load(std::memory_order_relaxed) | kClosed, std::memory_order_seq_cst);
  }
  // Who runs the barrier after Close, according to the last Open.
  Barrier barrier() const {
    const uint64_t mode = mode_.load(std::memory_order_relaxed);
    return (mode & kFenced) != 0 ? Barrier::kOwner : Barrier::kThief;
  }
  // After Close and the barrier: returns when the owner is outside. That is after some ten
  // instructions of the owner's, or when it next has a CPU. Requires the lock.
  void WaitForOwner() const {
    for (int i = 0; ABSL_PREDICT_FALSE(busy_.load(std::memory_order_seq_cst) != 0); ++i) Back(i);
  }

  // Takes out all runs and calls `take(page, order)` for each. How many. Requires the lock, and
  // that this is the owner's thread or that WaitForOwner has returned.
  template <typename Take>
  size_t TakeAll(const MagazineShape& shape, Take take) {
    size_t taken = 0;
    for (int order = 0; order <= PageStore::kMaxOrder; ++order) {
      while (const std::optional<FreePage> page = PopLocked(shape, order)) {
        take(*page, order);
        ++taken;
      }
    }
    return taken;
  }

  // How many pages (not runs) are in it. Exact while its owner does nothing.
  size_t CountPages() const {
    size_t count = 0;
    for (int order = 0; order <= PageStore::kMaxOrder; ++order) {
      count += size_t{counts_[order].load(std::memory_order_acquire)} << order;
    }
    return count;
  }

  // How often something was put in by Push. If it is the same before and after CountPages() found
  // each of several magazines empty, then there was a moment in which they all were.
  uint64_t pushes() const { return pushes_.load(std::memory_order_acquire); }

 private:
  // kClosed beside one of the others.
  static constexpr uint64_t kPlain = 0;
  static constexpr uint64_t kFenced = 1;
  static constexpr uint64_t kClosed = 2;

  ABSL_ATTRIBUTE_NOINLINE bool EnterFenced() {
    if (closed()) {
      Leave();
      return false;
    }
    busy_.store(1, std::memory_order_seq_cst);
    if ((mode_.load(std::memory_order_seq_cst) & kClosed) == 0) return true;
    Leave();
    return false;
  }

  // A thief with nothing to do. In the end it sleeps, lest it keep from running whom it waits for.
  ABSL_ATTRIBUTE_NOINLINE static void Back(int tries) {
    if (tries < 64) return;
    if (tries < 128) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }

  void Put(int order, int place, FreePage page) {
    slots_[place] = page.Pack();
    counts_[order].store(counts_[order].load(std::memory_order_relaxed) + 1,
                         std::memory_order_release);
  }
  uint64_t PopInside(const MagazineShape& shape, int order) {
    const uint64_t count = counts_[order].load(std::memory_order_relaxed);
    if (ABSL_PREDICT_FALSE(count == 0)) return kNone;
    counts_[order].store(count - 1, std::memory_order_release);
    return slots_[shape.begin[order] + count - 1];
  }

  std::atomic<uint64_t> mode_{kClosed};  // written with the lock
  std::atomic<uint64_t> busy_{0};        // the owner's: 1 while it is inside Push or Pop
  // Written by whoever is inside alone: the owner, or a thief that keeps it out. Whole words,
  // though bytes would do: some processors hand a word from a store to the next load at once, a
  // byte not (2 ns each, BM_PageArena_AllocateFree).
  std::array<std::atomic<uint64_t>, PageStore::kMaxOrder + 1> counts_{};
  std::atomic<uint64_t> pushes_{0};
  std::array<uint64_t, MagazineShape::kSlots> slots_{};
};

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_MAGAZINE_H_
