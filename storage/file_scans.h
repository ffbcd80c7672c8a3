#ifndef FIXPOOL_STORAGE_FILE_SCANS_H_
#define FIXPOOL_STORAGE_FILE_SCANS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/frame_index.h"
#include "fixpool/storage/frame_table.h"
#include "fixpool/storage/page_id.h"
#include "fixpool/storage/scan_detector.h"

namespace fixpool::storage {

// The scans of one open file, and their marks.
//
// A page that was read ahead is found by its scan without the cache's lock, so that nobody would
// notice how far the scan has come. So one of some hundred pages is marked: its word stays
// guarded (FrameTable::Capture), whoever asks for it comes by the lock, and there the scan is told
// of it and the mark goes. That is one look under the lock for hundreds of pages, and the path of a
// hit knows nothing of it. A marked page may be evicted like any other.
// Nothing allocates after construction. Guarded by the cache's lock.
class FileScans {
 public:
  // Marks of one scan at most; one more, and the oldest goes unnoticed.
  static constexpr size_t kMarks = 16;

  ScanDetector& detector() { return detector_; }
  const ScanDetector& detector() const { return detector_; }

  ScanDetector::Note OnAccess(PageNumber page, ScanDetector::Access access,
                              const ScanDetector::Bounds& bounds, uint64_t count) {
    const ScanDetector::Note note = detector_.OnAccess(page, access, bounds, count);
    if (note.scan == ScanDetector::kNone) return note;
    const PageNumber position = detector_.PositionOf(note.scan);
    for (Mark& mark : marks_[note.scan]) {
      if (mark.capture.has_value() && (note.afresh || mark.page < position)) mark.capture.reset();
    }
    return note;
  }

  // The page in `frame`, which has a word, is one that the scan is to be told of.
  // Without effect if the scan is beyond it already, or is another one by now.
  void MarkPage(size_t scan, PageNumber page, FrameIndex frame, FrameTable& frames) {
    if (!detector_.HasBeforeIt(scan, page)) return;
    Mark& mark = marks_[scan][next_mark_[scan]++ % kMarks];
    mark.capture.reset();
    mark.page = page;
    mark.frame = frame;
    mark.capture.emplace(frames, frame);
  }

  // The page has left `frame`. True: some scan has it still before it.
  bool OnEvicted(PageNumber page, FrameIndex frame) {
    if (!detector_.OnEvicted(page)) return false;
    DropMarksOf(frame);
    return true;
  }
  // For pages that leave without being evicted.
  void DropMarksOf(FrameIndex frame) {
    for (auto& of_scan : marks_) {
      for (Mark& mark : of_scan) {
        if (mark.capture.has_value() && mark.frame == frame) mark.capture.reset();
      }
    }
  }

 private:
  struct Mark {
    PageNumber page = 0;
    FrameIndex frame = kNoFrame;
    std::optional<FrameTable::Capture> capture;  // none: there is no mark
  };

  ScanDetector detector_;
  std::array<std::array<Mark, kMarks>, ScanDetector::kScans> marks_;
  std::array<size_t, ScanDetector::kScans> next_mark_{};
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_FILE_SCANS_H_
