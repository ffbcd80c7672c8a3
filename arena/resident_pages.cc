#include "fixpool/arena/resident_pages.h"

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "fixpool/arena/kernel_text.h"

namespace fixpool::arena {
namespace {

constexpr char kSmaps[] = "/proc/self/smaps";

struct AddressPair {
  uint64_t begin;
  uint64_t end;
};

// "7f51fc200000-7f51fca00000 rw-p ..." opens the record of a VMA; names of fields begin with
// a capital letter.
bool ParseVmaLine(absl::string_view line, AddressPair& vma) {
  const size_t dash = line.find('-');
  const size_t space = line.find(' ');
  if (dash == absl::string_view::npos || space == absl::string_view::npos || dash > space) {
    return false;
  }
  return absl::SimpleHexAtoi(line.substr(0, dash), &vma.begin) &&
         absl::SimpleHexAtoi(line.substr(dash + 1, space - dash - 1), &vma.end);
}

// "AnonHugePages:   2048 kB" -> true, bytes.
bool ParseField(absl::string_view line, absl::string_view name, size_t& bytes) {
  if (line.substr(0, name.size()) != name || line.size() <= name.size() ||
      line[name.size()] != ':') {
    return false;
  }
  absl::string_view value = absl::StripAsciiWhitespace(line.substr(name.size() + 1));
  uint64_t kib = 0;
  if (!absl::SimpleAtoi(value.substr(0, value.find(' ')), &kib)) return false;
  bytes = kib * 1024;
  return true;
}

void AddField(absl::string_view line, ResidentPages& pages) {
  size_t bytes = 0;
  if (ParseField(line, "KernelPageSize", bytes)) pages.kernel_page_bytes = bytes;
  if (ParseField(line, "Rss", bytes)) pages.ordinary_bytes += bytes;
  if (ParseField(line, "AnonHugePages", bytes)) pages.transparent_bytes += bytes;
  // Linux 6.18 now and then counts a 1 GiB page that nobody else has as shared.
  if (ParseField(line, "Private_Hugetlb", bytes)) pages.hugetlb_bytes += bytes;
  if (ParseField(line, "Shared_Hugetlb", bytes)) pages.hugetlb_bytes += bytes;
}

}  // namespace

absl::StatusOr<ResidentPages> ReadResidentPages(const void* base, size_t size_bytes) {
  const uint64_t begin = reinterpret_cast<uintptr_t>(base);
  const uint64_t end = begin + size_bytes;
  ResidentPages pages;
  AddressPair vma = {0, 0};
  bool inside = false;  // the record being read is one of the range
  bool found = false;
  bool reaches_out = false;
  const absl::Status status = ForEachKernelLine(kSmaps, [&](absl::string_view line) {
    if (ParseVmaLine(line, vma)) {
      inside = vma.begin < end && vma.end > begin;
      found = found || inside;
      reaches_out = reaches_out || (inside && (vma.begin < begin || vma.end > end));
      return vma.begin < end && !reaches_out;
    }
    if (inside) AddField(line, pages);
    return true;
  });
  if (!status.ok()) return status;
  if (reaches_out) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "%s: %x-%x is joined with its neighbour, %x-%x", kSmaps, begin, end, vma.begin, vma.end));
  }
  if (!found) {
    return absl::NotFoundError(
        absl::StrFormat("%s: nothing is mapped at %x-%x", kSmaps, begin, end));
  }
  return pages;
}

}  // namespace fixpool::arena
