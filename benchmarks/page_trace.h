#ifndef FIXPOOL_BENCHMARKS_PAGE_TRACE_H_
#define FIXPOOL_BENCHMARKS_PAGE_TRACE_H_

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace fixpool::benchmarks {

// Which pages somebody asked for, in which order.
//
//   absl::StatusOr<PageTrace> trace = ReadTrace("/data/oltp.lis", TraceFormat::kLis);
//   for (uint32_t record : trace->records()) ... trace->pages()[PageTrace::IndexOf(record)]
//
// Shape: pages are numbered densely, in the order of their first appearance, so that what a
// replay keeps for each of them is an array. A record is that number, with the top bit for
// "the page is written to": that makes a page in memory dirty and is no reference.
// A value; thread-compatible.
class PageTrace {
 public:
  static constexpr uint32_t kWriteBit = uint32_t{1} << 31;
  static constexpr uint64_t kMaxPages = kWriteBit;

  static constexpr uint32_t IndexOf(uint32_t record) { return record & ~kWriteBit; }
  static constexpr bool IsWrite(uint32_t record) { return (record & kWriteBit) != 0; }

  // False: there are kMaxPages of them already.
  bool AddReference(uint64_t page) { return Add(page, 0); }
  bool AddWrite(uint64_t page) { return Add(page, kWriteBit); }

  const std::vector<uint32_t>& records() const { return records_; }
  const std::vector<uint64_t>& pages() const { return pages_; }  // by their dense numbers
  uint64_t references() const { return references_; }
  uint64_t distinct_pages() const { return pages_.size(); }

 private:
  bool Add(uint64_t page, uint32_t bits);

  std::vector<uint32_t> records_;
  std::vector<uint64_t> pages_;
  std::unordered_map<uint64_t, uint32_t> index_of_;
  uint64_t references_ = 0;
};

enum class TraceFormat {
  kLe32,  // little-endian 32-bit page numbers; the top bit marks a write
  kLis,   // text, a line for a run: "first count ignored request", as the traces of ARC's authors
};

// Reads a file, or standard input if `path` is "-".
// UsageError: it cannot be opened or read, is not of that format (with the line, or the byte, where
// it is not), or has no reference.
absl::StatusOr<PageTrace> ReadTrace(const std::string& path, TraceFormat format);

// The contents of a file in that format. Errors: as ReadTrace.
absl::StatusOr<PageTrace> ParseTrace(absl::string_view contents, TraceFormat format);

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_PAGE_TRACE_H_
