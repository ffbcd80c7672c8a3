#ifndef FIXPOOL_ARENA_RESIDENT_PAGES_H_
#define FIXPOOL_ARENA_RESIDENT_PAGES_H_

#include <cstddef>

#include "absl/status/statusor.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::arena {

// What really stands behind a range of addresses, as the kernel counts it. Bytes.
struct ResidentPages {
  size_t kernel_page_bytes = 0;  // of the mapping: 4 KiB, or the size of its hugetlb pages
  size_t ordinary_bytes = 0;     // resident and not hugetlb; includes transparent_bytes
  size_t transparent_bytes = 0;  // on whole transparent huge pages
  size_t hugetlb_bytes = 0;
};

// Reads it back from /proc/self/smaps.
//
//   absl::StatusOr<ResidentPages> pages = ReadResidentPages(base, size_bytes);
//   pages->kernel_page_bytes == 2 << 20
//
// The range must consist of whole mappings (VMAs), which the caller sees to by keeping
// inaccessible pages around it: the kernel reports by VMA and joins neighbours that are alike.
// NotFound: nothing is mapped there. FailedPrecondition: a VMA reaches beyond the range, so
// its counts would speak of other memory too. Those of kernel_text.h: no /proc.
//
// Why smaps and not PAGEMAP_SCAN, which looks at the range alone: that came with Linux 6.7,
// and /proc/self/pagemap cannot be opened by a process that changed its user id. smaps is made
// up as it is read, in the order of addresses, and reading stops behind the range; recent
// mappings lie before older ones, so not much is walked in vain.
// Thread-safe. Costs about 5 ms for each GiB of 4 KiB pages, next to nothing for huge ones.
// Source: Documentation/filesystems/proc.rst.
absl::StatusOr<ResidentPages> ReadResidentPages(const void* base, size_t size_bytes);

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_RESIDENT_PAGES_H_
