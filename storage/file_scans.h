#ifndef FIXPOOL_STORAGE_FILE_SCANS_H_
#define FIXPOOL_STORAGE_FILE_SCANS_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/frame_index.h"
#include "fixpool/storage/frame_table.h"
#include "fixpool/storage/page_id.h"
#include "fixpool/storage/scan_detector.h"

namespace fixpool::storage {

// The scans of one open file, and their marks.
//
// A page that was read ahead is found by its scan without the cache's lock, so that nobody would
// notice how far the scan has come. So one of some hundred pages is marked: it is watched
// (FrameTable::Watch), whoever asks for it comes by the lock, and there the scan is told of it and
// the mark goes. That is one look under the lock for hundreds of pages, and the path of a hit knows
// nothing of it. A marked page may be evicted or moved like any other; then it is none any more.
// Nothing allocates after construction. Guarded by the cache's lock.
class FileScans {
 public:
  // Marks of one scan at most; one more, and the oldest goes unnoticed.
  static constexpr size_t kMarks = 16;

  ScanDetector& detector() { return detector_; }
  const ScanDetector& detector() const { return detector_; }

  // Of a page of `file`, which these are the scans of.
  ScanDetector::Note OnAccess(const PageId& page, ScanDetector::Access access,
                              const ScanDetector::Bounds& bounds, uint64_t count,
                              FrameTable& frames) {
    const ScanDetector::Note note = detector_.OnAccess(page.page_number, access, bounds, count);
    if (note.scan == ScanDetector::kNone) return note;
    const PageNumber position = detector_.PositionOf(note.scan);
    for (Mark& mark : marks_[note.scan]) {
      if (note.afresh || mark.page < position) Unmark(page.file, mark, frames);
    }
    return note;
  }

  // The page in `frame`, which has a word, is one that the scan is to be told of.
  // Without effect if the scan is beyond it already, or is another one by now.
  void MarkPage(size_t scan, const PageId& page, FrameIndex frame, FrameTable& frames) {
    if (!detector_.HasBeforeIt(scan, page.page_number)) return;
    Mark& mark = marks_[scan][next_mark_[scan]++ % kMarks];
    Unmark(page.file, mark, frames);
    mark = {.page = page.page_number, .frame = frame};
    frames.Watch(frame);
  }

 private:
  struct Mark {
    PageNumber page = 0;
    FrameIndex frame = kNoFrame;  // where it was when it was marked; kNoFrame: there is no mark
  };

  static void Unmark(FileId file, Mark& mark, FrameTable& frames) {
    if (mark.frame != kNoFrame) frames.Unwatch(mark.frame, file, mark.page);
    mark.frame = kNoFrame;
  }

  ScanDetector detector_;
  std::array<std::array<Mark, kMarks>, ScanDetector::kScans> marks_;
  std::array<size_t, ScanDetector::kScans> next_mark_{};
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_FILE_SCANS_H_
