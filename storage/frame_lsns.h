#ifndef FIXPOOL_STORAGE_FRAME_LSNS_H_
#define FIXPOOL_STORAGE_FRAME_LSNS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/frame_array.h"
#include "fixpool/storage/frame_index.h"
#include "fixpool/storage/lsn.h"

namespace fixpool::storage {

// What the log has to do with the page in each frame: up to where the log tells of its changes, and
// from where on it tells of those that are not on disk.
//
//   lsns.StartUsing();
//   lsns.RaisePage(frame, lsn);                // by who holds the page exclusively
//   ... lsns.page(frame) ...                   // what is written with it
//   lsns.Reset(frame);                         // another page is there
//
// Shape: two numbers of 8 bytes for each frame, in two tables, in memory that is taken where it is
// written to: until StartUsing nothing is, and every frame says kNone.
// Threads: values are relaxed atomics; what orders them is what makes it safe to touch the page
// (its latch, its write-back, the cache's lock). MakeRoom and DiscardFrom as FrameArray's.
class FrameLsns {
 public:
  // CHECKs as FrameArray does.
  FrameLsns(uint32_t frames, uint32_t most_frames)
      : page_(frames, most_frames), first_dirty_(frames, most_frames) {}

  // Somebody has LSNs: from now on Reset and Move do something. Before the first other value.
  void StartUsing() {
    if (!in_use()) in_use_.store(true, std::memory_order_relaxed);
  }
  bool in_use() const { return in_use_.load(std::memory_order_relaxed); }

  // The last record of the log that the page's bytes show, as far as anybody said.
  Lsn page(FrameIndex frame) const { return Load(page_[frame]); }
  void set_page(FrameIndex frame, Lsn lsn) { Store(page_[frame], lsn); }
  // The same, unless it would be less than it is. One at a time for a frame.
  void RaisePage(FrameIndex frame, Lsn lsn) {
    if (lsn > page(frame)) set_page(frame, lsn);
  }
  // No record before this one tells of changes to the page that are not on disk. kNone: all are.
  Lsn first_dirty(FrameIndex frame) const { return Load(first_dirty_[frame]); }
  void set_first_dirty(FrameIndex frame, Lsn lsn) { Store(first_dirty_[frame], lsn); }

  // Nothing is known of the page in the frame. Without StartUsing this writes nothing.
  void Reset(FrameIndex frame) {
    if (!in_use()) return;
    set_page(frame, Lsn::kNone);
    set_first_dirty(frame, Lsn::kNone);
  }
  // What is known of the page in `from` is from now on known of `to`, and nothing of `from`.
  void Move(FrameIndex from, FrameIndex to) {
    if (!in_use()) return;
    set_page(to, page(from));
    set_first_dirty(to, first_dirty(from));
    Reset(from);
  }

  // Frames below `frames` can be used from now on. ResourceExhausted: as ZeroedMemory; fewer can,
  // and nothing else has changed.
  absl::Status MakeRoom(uint32_t frames) {
    if (absl::Status status = page_.MakeRoom(frames); !status.ok()) return status;
    if (absl::Status status = first_dirty_.MakeRoom(frames); !status.ok()) return status;
    return absl::OkStatus();
  }
  // Frames from `end` on are no more.
  void DiscardFrom(uint32_t end) {
    if (!in_use()) return;  // nothing was written
    page_.DiscardFrom(end);
    first_dirty_.DiscardFrom(end);
  }

  // Memory that is taken for that many frames, at most.
  size_t metadata_bytes(uint32_t frames) const {
    return in_use() ? size_t{frames} * 2 * sizeof(uint64_t) : 0;
  }

 private:
  using Table = FrameArray<std::atomic<uint64_t>>;

  static Lsn Load(const std::atomic<uint64_t>& value) {
    return Lsn{value.load(std::memory_order_relaxed)};
  }
  static void Store(std::atomic<uint64_t>& value, Lsn lsn) {
    value.store(ToInt(lsn), std::memory_order_relaxed);
  }

  std::atomic<bool> in_use_{false};
  Table page_;
  Table first_dirty_;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_FRAME_LSNS_H_
