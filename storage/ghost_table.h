#ifndef FIXPOOL_STORAGE_GHOST_TABLE_H_
#define FIXPOOL_STORAGE_GHOST_TABLE_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/page_id.h"
#include "fixpool/storage/zeroed_memory.h"

namespace fixpool::storage {

// Which pages were evicted lately: the last `capacity` that were added, or nearly so.
//
//   GhostTable ghosts({.capacity = 900, .max_capacity = 9000});
//   ghosts.Add(page);
//   if (ghosts.Take(page)) ...                           // it was here not long ago
//
// Shape: sets of 16 entries of 4 bytes, one cache line; a page's hash chooses the set, and 16 bits
// of it are kept, with the 16 low bits of the time. The time is the number of pages added so far,
// in units of which a capacity has at most 16384. A set that is full forgets its oldest.
// So it errs, rarely and harmlessly: a page that never was here is taken for one that was with
// a probability of 16 in 65536; and of those that were, some 6% are forgotten a little early,
// because their set was full.
// Memory: 4.5 bytes for each of `capacity`, as sets are used; address space for most_capacity.
// Guarded by the policy's lock.
class GhostTable {
 public:
  struct Options {
    uint32_t capacity = 0;      // 1 to max_capacity; SetCapacity changes it
    uint32_t max_capacity = 0;  // until MakeRoom
    uint32_t most_capacity =
        0;  // that MakeRoom can make; at least max_capacity, which 0 stands for
  };
  // CHECKs that there is address space, and memory for max_capacity (PageCache::Create looks
  // first).
  explicit GhostTable(const Options& options);

  // SetCapacity may set as much from now on. ResourceExhausted: as ZeroedMemory.
  absl::Status MakeRoom(uint32_t max_capacity);
  // With another number of sets, or another unit of time, everything is forgotten.
  void SetCapacity(uint32_t capacity);
  // The page, which is not in the table, was evicted.
  void Add(const PageId& page);
  // Whether the page was among the last; it is not any more.
  bool Take(const PageId& page);

  static size_t BytesFor(uint32_t capacity);

 private:
  static constexpr uint32_t kWays = 16;
  static constexpr uint32_t kMaxAge = 1u << 14;

  struct Entry {
    uint16_t tag = 0;  // 0: empty
    uint16_t time = 0;
  };
  struct Place {
    Entry* set;
    uint16_t tag;
  };
  Place PlaceOf(const PageId& page);
  uint16_t Now() const { return static_cast<uint16_t>(added_ / unit_); }
  uint16_t AgeOf(const Entry& entry) const { return static_cast<uint16_t>(Now() - entry.time); }

  Entry* entries() const { return reinterpret_cast<Entry*>(memory_.data()); }

  ZeroedMemory memory_;
  uint64_t sets_ = 0;
  uint32_t capacity_ = 0;
  uint32_t unit_ = 1;
  uint64_t added_ = 0;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_GHOST_TABLE_H_
