#ifndef FIXPOOL_TESTS_SUPPORT_ADDRESS_SPACE_H_
#define FIXPOOL_TESTS_SUPPORT_ADDRESS_SPACE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace fixpool::tests {

// What the kernel says of one mapping (VMA) of this process: a look at /proc/self/smaps that
// shares nothing with the library's own.
struct VmaView {
  uintptr_t begin = 0;
  uintptr_t end = 0;
  std::string permissions;  // "rw-p"
  std::string flags;        // " rd wr dc ": with a space on either side of each
  size_t kernel_page_kib = 0;
  size_t resident_kib = 0;  // hugetlb is not counted
  size_t transparent_kib = 0;
  size_t hugetlb_kib = 0;

  bool HasFlag(const std::string& flag) const {
    return flags.find(" " + flag + " ") != std::string::npos;
  }
};

// The mapping that holds `address`; nullopt if nothing is mapped there.
std::optional<VmaView> VmaAt(const void* address);

// Whether a mapping that is kept from children (MADV_DONTFORK) holds `address`. In a child:
// never, whatever else may have been mapped there since, by a sanitizer say.
bool IsKeptFromChildren(const void* address);

// Whether every 4 KiB page of the range is in memory now (mincore(2)).
bool AllResident(const void* base, size_t size_bytes);

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_SUPPORT_ADDRESS_SPACE_H_
