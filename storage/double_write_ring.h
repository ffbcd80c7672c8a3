#ifndef FIXPOOL_STORAGE_DOUBLE_WRITE_RING_H_
#define FIXPOOL_STORAGE_DOUBLE_WRITE_RING_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/double_write_format.h"
#include "fixpool/storage/page_id.h"

namespace fixpool::storage {

// Which places of a double-write area hold copies that a crash would make needed, and where the
// next batch of copies goes.
//
//   auto place = ring.Reserve(pages);                  // nullopt: no room, see below
//   ... header and copies are written there, the area synced ...
//   ring.Cover(place->slot, writes);                   // or Abandon
//   ... the pages are written to their file, by as many writes ...
//   ring.EndWrite(place->slot, pages, ok);             // for each of these
//   ring.BeginSync(); ... the file is synced ... ring.EndSync(ok);
//
// A place can be used again when all writes of its pages have ended and a sync of the file that
// began after that went well. A page whose write failed may be torn on disk by that very write:
// its copy is needed until a newer one is on disk, with which it is tried again. Such a batch keeps
// its place, and others go around it; if nothing else is left, behind all of them, where the area
// may grow. One slot is kept for pages that failed before, so that those which cannot be written
// never keep from being tried again.
// Shape: places in pages, from the first batch on; up to kMostBatches batches. Allocates where a
// write has failed, and nowhere else. Thread-compatible: guarded by the cache's lock.
class DoubleWriteRing {
 public:
  static constexpr uint32_t kMostBatches = DoubleWriteHeader::kMostNeeded + 1;

  struct Options {
    uint64_t capacity_pages = 0;  // at least as many as a batch has, with its header
    bool may_grow = true;
    uint64_t next_sequence = 1;
  };
  struct Place {
    uint32_t slot;
    uint64_t sequence;
    uint64_t position_pages;
  };

  explicit DoubleWriteRing(const Options& options)
      : options_(options), next_sequence_(options.next_sequence) {}

  // For a header and these pages. Nullopt: there is no room before some write, or a sync of the
  // file, ends (FreedBySync, awaits_writes), or ever if neither is to be awaited.
  std::optional<Place> Reserve(absl::Span<const PageNumber> pages);
  // The batch was not, or not certainly, written: no page of it is written to its file.
  void Abandon(uint32_t slot);
  // The copies are on stable storage, so older ones of these pages are not needed for their sake.
  void Cover(uint32_t slot, absl::Span<const PageNumber> pages, uint32_t writes);
  void EndWrite(uint32_t slot, PageNumber first, uint32_t count, bool ok);

  void BeginSync();
  void EndSync(bool ok);
  // Whether a sync of the file that begins now would free something.
  bool FreedBySync() const;
  bool awaits_writes() const;
  // No copy is needed.
  bool empty() const;

  uint64_t next_sequence() const { return next_sequence_; }
  // Of the batches whose copies are needed, but for `slot`.
  void NeededBeside(uint32_t slot, std::vector<uint64_t>& sequences) const;

 private:
  struct Batch {
    bool taken = false;
    bool covered = false;
    bool in_sync = false;  // the sync in flight began after the last of its writes had ended
    bool synced = false;
    uint32_t writes = 0;  // that have not ended
    uint64_t sequence = 0;
    uint64_t begin_pages = 0;
    uint64_t end_pages = 0;
    std::vector<PageNumber> failed;
  };

  bool settled(const Batch& batch) const { return batch.covered && batch.writes == 0; }
  bool AnyFailed(absl::Span<const PageNumber> pages) const;
  std::optional<uint64_t> FindPlace(uint64_t length_pages) const;
  const Batch* Overlapping(uint64_t begin_pages, uint64_t end_pages) const;
  void ReleaseIfDone(Batch& batch);

  const Options options_;
  uint64_t next_sequence_;
  uint64_t next_position_pages_ = 0;
  std::array<Batch, kMostBatches> batches_;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_DOUBLE_WRITE_RING_H_
