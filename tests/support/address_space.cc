#include "tests/support/address_space.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <vector>

namespace fixpool::tests {

std::optional<VmaView> VmaAt(const void* address) {
  const uintptr_t wanted = reinterpret_cast<uintptr_t>(address);
  std::ifstream smaps("/proc/self/smaps");
  std::string line;
  std::optional<VmaView> found;
  while (std::getline(smaps, line)) {
    unsigned long begin = 0;
    unsigned long end = 0;
    char permissions[8] = "";
    if (std::sscanf(line.c_str(), "%lx-%lx %7s", &begin, &end, permissions) == 3) {
      if (found.has_value()) return found;
      if (begin <= wanted && wanted < end) {
        found.emplace();
        found->begin = begin;
        found->end = end;
        found->permissions = permissions;
      }
      continue;
    }
    if (!found.has_value()) continue;
    std::sscanf(line.c_str(), "KernelPageSize: %zu kB", &found->kernel_page_kib);
    std::sscanf(line.c_str(), "Rss: %zu kB", &found->resident_kib);
    std::sscanf(line.c_str(), "AnonHugePages: %zu kB", &found->transparent_kib);
    // Both: the kernel's notion of who else has a huge page is not exact.
    size_t hugetlb_kib = 0;
    if (std::sscanf(line.c_str(), "Private_Hugetlb: %zu kB", &hugetlb_kib) == 1 ||
        std::sscanf(line.c_str(), "Shared_Hugetlb: %zu kB", &hugetlb_kib) == 1) {
      found->hugetlb_kib += hugetlb_kib;
    }
    if (line.rfind("VmFlags:", 0) == 0) found->flags = line.substr(8) + " ";
  }
  return found;
}

bool IsKeptFromChildren(const void* address) {
  const std::optional<VmaView> vma = VmaAt(address);
  return vma.has_value() && vma->HasFlag("dc");
}

bool AllResident(const void* base, size_t size_bytes) {
  std::vector<unsigned char> resident(size_bytes / 4096);
  if (mincore(const_cast<void*>(base), size_bytes, resident.data()) != 0) return false;
  return std::all_of(resident.begin(), resident.end(),
                     [](unsigned char byte) { return (byte & 1) != 0; });
}

}  // namespace fixpool::tests
