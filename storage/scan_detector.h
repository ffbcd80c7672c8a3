#ifndef FIXPOOL_STORAGE_SCAN_DETECTOR_H_
#define FIXPOOL_STORAGE_SCAN_DETECTOR_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/page_id.h"

namespace fixpool::storage {

// Finds out who reads one file page after page, and says what should be read before he asks.
//
//   ScanDetector::Note note = detector.OnAccess(page, Access::kMissing, bounds);
//   if (note.ahead.has_value()) ... read [note.ahead->first, note.ahead->end) ...
//
// It is told of accesses to pages that are not in memory, or still on their way, and of some to
// pages that are: those that the caller was going to look at anyway. Of accesses that it is not
// told of it assumes that they were in order.
//
// Shape: a scan begins with kRunToStart pages in a row; several may go on at once, kScans at most,
// of which the one that stood still longest gives way to another. What has been begun is found in
// a table of kCandidates places by the page that would come next, so that an access at random
// costs a look at one of them and a store, however many there are. What a scan has before it, its
// window, doubles from kFirstWindow to what the bounds say, each time that a quarter of it has
// been used; it shrinks when its pages turn out to be gone again when their turn comes.
// Upwards only. Nothing allocates. Guarded by the cache's lock.
class ScanDetector {
 public:
  static constexpr size_t kScans = 8;
  static constexpr size_t kCandidates = 64;
  static constexpr uint32_t kRunToStart = 4;
  static constexpr uint32_t kFirstWindow = 16;
  // Where there is not room for as much, nothing is named.
  static constexpr uint32_t kLeastWindow = 8;
  // So many pages beyond what was named a scan may have found in memory, and still be known; or
  // twice its window, if that is less.
  static constexpr uint32_t kLargestGap = 32;
  // So much of a window as is worth a transfer of its own; see OnAccess.
  static constexpr uint32_t kLargestStep = 256;
  static constexpr uint32_t kLeastStep = 4;

  enum class Access : uint8_t {
    kMissing,   // it will be read for him who asks
    kInFlight,  // its read has not ended
    kResident,
  };
  struct Bounds {
    uint32_t largest_window = 0;  // in pages
    uint64_t page_count = 0;      // of the file
  };
  // Pages that should be read now: [first, end), which is not empty. The detector wants to be told
  // when the scan has come to the first of them, and again each `step` pages.
  struct Ahead {
    PageNumber first = 0;
    PageNumber end = 0;
    uint32_t step = 0;
  };
  struct Note {
    // Which scan this belongs to, below kScans; or kNone.
    size_t scan = kNone;
    // What had been named for it before does not count any more: it has begun, perhaps in the place
    // of another, or began anew.
    bool afresh = false;
    std::optional<Ahead> ahead = std::nullopt;
  };
  static constexpr size_t kNone = ~size_t{0};

  ScanDetector();

  // In steps of no less than a quarter of the window (or kLargestStep, and kLeastStep at least), so
  // that the transfers are not many and small. Pages that it names it takes for being read from now
  // on. `count`: so many pages from `page` on were asked for at once, which counts as one.
  Note OnAccess(PageNumber page, Access access, const Bounds& bounds, uint64_t count = 1);
  // Of `ahead`, which was named for the scan last, pages from `first` on were not read, for want of
  // something. Without effect if something else has been named meanwhile.
  void TakeBack(size_t scan, const Ahead& ahead, PageNumber first);
  // A page left memory. True: some scan has it still before it.
  bool OnEvicted(PageNumber page);

  // Whether the page has been named for the scan, which has not come to it.
  bool HasBeforeIt(size_t scan, PageNumber page) const {
    return page - scans_[scan].position < scans_[scan].end - scans_[scan].position;
  }
  // The page that the scan is believed to want next.
  PageNumber PositionOf(size_t scan) const { return scans_[scan].position; }
  // Of pages named, those that their scan has not come to before it was forgotten.
  uint64_t abandoned() const { return abandoned_; }

 private:
  struct Scan {
    PageNumber position = 0;  // the next page, as far as is known
    PageNumber end = 0;       // up to here pages have been named; not before `position`
    uint32_t window = 0;      // 0: there is no such scan
    uint32_t gone = 0;        // of those before it, evicted
    uint64_t last_access = 0;
  };
  struct Candidate {
    PageNumber next = ~PageNumber{0};
    uint32_t run = 0;  // accesses in a row before it
  };

  static size_t PlaceOf(PageNumber page) { return (page * 0x9E3779B97F4A7C15u) >> 58; }
  static_assert(kCandidates == size_t{1} << (64 - 58));

  static uint64_t GapOf(const Scan& scan) { return std::min(2 * scan.window, kLargestGap); }
  size_t FindScan(PageNumber page) const;
  size_t Begin(PageNumber position);
  std::optional<Ahead> Extend(Scan& scan, const Bounds& bounds);

  std::array<Scan, kScans> scans_;
  size_t scan_count_ = 0;  // the first of scans_
  std::array<Candidate, kCandidates> candidates_;
  uint64_t accesses_ = 0;
  uint64_t abandoned_ = 0;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_SCAN_DETECTOR_H_
