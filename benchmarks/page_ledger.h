#ifndef FIXPOOL_BENCHMARKS_PAGE_LEDGER_H_
#define FIXPOOL_BENCHMARKS_PAGE_LEDGER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace fixpool::benchmarks {

// What --verify knows of every page of the file: the sequence number of its last write.
//
//   PageLedger ledger(pages, page_bytes);
//   ledger.Set(17, 2);
//   absl::Status right = ledger.Check(17, bytes);    // WrongDataError if any byte is not right
//
// Shape: one 32-bit word a page. Sequence numbers wrap around below kAny.
// Threads: Get and Set are atomic, one page at a time. Whoever checks or writes a page
// sees to it that nobody writes that page meanwhile.
class PageLedger {
 public:
  // Any sequence will do, also several in one page: the page was written before this run,
  // with smaller pages.
  static constexpr uint32_t kAny = 0xFFFFFFFF;

  PageLedger(uint64_t pages, uint32_t page_bytes)
      : pages_(pages),
        page_bytes_(page_bytes),
        sequences_(std::make_unique<std::atomic<uint32_t>[]>(pages)) {}

  uint64_t pages() const { return pages_; }
  uint32_t page_bytes() const { return page_bytes_; }

  uint32_t Get(uint64_t page) const { return sequences_[page].load(std::memory_order_relaxed); }
  void Set(uint64_t page, uint32_t sequence) {
    sequences_[page].store(sequence, std::memory_order_relaxed);
  }
  void SetAll(uint32_t sequence);

  // The sequence for the next write of `page`: never the one before, never kAny.
  uint32_t NextSequence(uint64_t page) const {
    const uint32_t now = Get(page);
    return now >= kAny - 1 ? 1 : now + 1;
  }

  // Whether `bytes`, the content of `page`, is the pattern with the sequence set last.
  absl::Status Check(uint64_t page, absl::Span<const std::byte> bytes) const;

  // Sets the sequence of `page` to what is found in `bytes`. WrongDataError: not the pattern.
  absl::Status Learn(uint64_t page, absl::Span<const std::byte> bytes);

 private:
  absl::Status Damage(uint64_t page, size_t wrong_byte) const;

  const uint64_t pages_;
  const uint32_t page_bytes_;
  std::unique_ptr<std::atomic<uint32_t>[]> sequences_;
};

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_PAGE_LEDGER_H_
