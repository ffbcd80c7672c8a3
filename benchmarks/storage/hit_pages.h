#ifndef FIXPOOL_BENCHMARKS_STORAGE_HIT_PAGES_H_
#define FIXPOOL_BENCHMARKS_STORAGE_HIT_PAGES_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/storage/page_cache.h"
#include "fixpool/storage/page_hint.h"

namespace fixpool::benchmarks {

// Pages of several files, all of them in the memory of one cache, each naming another such that
// following them visits all; and the plain things beside it, an array of pointers to the very same
// pages and a pointer to the next page in each.
//
//   absl::StatusOr<std::unique_ptr<HitPages>> pages = HitPages::Make(1 << 18);
//   const uint32_t next = HitPages::NextOf((*pages)->array()[7]);
//
// The files are sparse, never written to, and gone from their directory.
// Thread-compatible.
class HitPages {
 public:
  static constexpr uint32_t kFiles = 4;
  static constexpr uint32_t kPageBytes = 4096;

  // What a page says: where to go next, in three ways.
  struct Link {
    uint32_t next;
    uint32_t unused;
  };
  static constexpr size_t kPointerAt = 8;  // the next page's first byte
  static constexpr size_t kHintAt = 16;    // a PageHint of the next page

  // ResourceExhausted: the machine has not as much memory to spare.
  static absl::StatusOr<std::unique_ptr<HitPages>> Make(uint32_t count);
  HitPages() = default;
  HitPages(const HitPages&) = delete;
  HitPages& operator=(const HitPages&) = delete;
  ~HitPages();

  storage::PageCache& cache() { return *cache_; }
  uint32_t count() const { return count_; }
  storage::PageId IdOf(uint32_t page) const { return {files_[page % kFiles], page / kFiles}; }
  const std::byte* const* array() const { return array_.data(); }
  storage::PageHint HintOf(uint32_t page) { return cache_->Read(IdOf(page))->hint(); }

  static uint32_t NextOf(const std::byte* page) {
    Link link;
    std::memcpy(&link, page, sizeof link);
    return link.next;
  }

 private:
  absl::Status Fill(uint32_t count);
  absl::Status AddShortcuts();

  std::unique_ptr<storage::PageCache> cache_;
  std::vector<storage::FileId> files_;
  std::vector<const std::byte*> array_;
  uint32_t count_ = 0;
};

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_STORAGE_HIT_PAGES_H_
