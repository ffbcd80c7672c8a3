#include "fixpool/storage/scan_detector.h"

#include <algorithm>

namespace fixpool::storage {

ScanDetector::ScanDetector() = default;

ScanDetector::Note ScanDetector::OnAccess(PageNumber page, Access access, const Bounds& bounds,
                                          uint64_t count) {
  if (bounds.largest_window < kLeastWindow) return {};
  Note note{.scan = FindScan(page)};
  if (note.scan != kNone && page > scans_[note.scan].end && access == Access::kResident) return {};
  if (note.scan == kNone) {
    if (access == Access::kResident) return {};
    const Candidate& expected = candidates_[PlaceOf(page)];
    const uint32_t run = expected.next == page ? expected.run + 1 : 1;
    Candidate& next = candidates_[PlaceOf(page + count)];
    // Several who ask for the same page are no run, and do not end one.
    if (next.next == page + count && next.run >= run) return {};
    next = {.next = page + count, .run = run};
    if (run < kRunToStart) return {};
    note = {.scan = Begin(page + count), .afresh = true};
  }
  Scan& scan = scans_[note.scan];
  scan.last_access = ++accesses_;
  if (access == Access::kMissing && page < scan.end) {
    // What has been read for it does not stay until it comes: less of that.
    scan.window /= 4;
    scan.end = page + count;
    scan.gone = 0;
    note.afresh = true;
  }
  scan.position = std::max(scan.position, page + count);
  scan.end = std::max(scan.end, scan.position);
  note.ahead = Extend(scan, bounds);
  return note;
}

size_t ScanDetector::FindScan(PageNumber page) const {
  for (size_t i = 0; i < scan_count_; ++i) {
    // Beyond what was named, too: it may have found pages in memory that nobody had to be told of.
    if (page - scans_[i].position <= scans_[i].end - scans_[i].position + GapOf(scans_[i])) {
      return i;
    }
  }
  return kNone;
}

size_t ScanDetector::Begin(PageNumber position) {
  size_t chosen = scan_count_;
  if (scan_count_ < kScans) {
    ++scan_count_;
  } else {
    const auto oldest = std::min_element(
        scans_.begin(), scans_.end(),
        [](const Scan& a, const Scan& b) { return a.last_access < b.last_access; });
    chosen = static_cast<size_t>(oldest - scans_.begin());
    const uint64_t before_it = oldest->end - oldest->position;
    abandoned_ += before_it - std::min<uint64_t>(before_it, oldest->gone);
  }
  scans_[chosen] = {.position = position, .end = position};
  return chosen;
}

std::optional<ScanDetector::Ahead> ScanDetector::Extend(Scan& scan, const Bounds& bounds) {
  const uint32_t first_window = std::min(kFirstWindow, bounds.largest_window);
  const uint32_t window = std::clamp(2 * scan.window, first_window, bounds.largest_window);
  const PageNumber wanted_end = std::min<PageNumber>(scan.position + window, bounds.page_count);
  if (wanted_end <= scan.end) return std::nullopt;
  const uint32_t step = std::clamp(window / 4, kLeastStep, kLargestStep);
  const bool to_the_end = wanted_end == bounds.page_count;
  const bool nothing_before_it = scan.end == scan.position;
  if (!to_the_end && !nothing_before_it && wanted_end - scan.end < step) return std::nullopt;
  scan.window = window;
  const Ahead ahead{.first = scan.end, .end = wanted_end, .step = step};
  scan.end = wanted_end;
  return ahead;
}

void ScanDetector::TakeBack(size_t scan, const Ahead& ahead, PageNumber first) {
  Scan& of = scans_[scan];
  if (of.end != ahead.end || first < ahead.first || first >= ahead.end) return;
  of.end = std::max(first, of.position);
}

bool ScanDetector::OnEvicted(PageNumber page) {
  for (size_t i = 0; i < scan_count_; ++i) {
    if (!HasBeforeIt(i, page)) continue;
    ++scans_[i].gone;
    return true;
  }
  return false;
}

}  // namespace fixpool::storage
