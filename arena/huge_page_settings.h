#ifndef FIXPOOL_ARENA_HUGE_PAGE_SETTINGS_H_
#define FIXPOOL_ARENA_HUGE_PAGE_SETTINGS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "fixpool/io/require_cpp20.h"

namespace fixpool::arena {

// The machine's pool of hugetlb pages of one size, in pages, at one moment.
struct HugePagePool {
  uint64_t total = 0;       // nr_hugepages: set aside
  uint64_t free = 0;        // of total, nobody has touched them
  uint64_t reserved = 0;    // of free, promised to somebody's mmap
  uint64_t overcommit = 0;  // what the kernel may add from ordinary memory
  uint64_t surplus = 0;     // of overcommit, added already

  // What an mmap could be promised now, if memory for the overcommitted ones can be found.
  uint64_t available() const {
    return (free > reserved ? free - reserved : 0) +
           (overcommit > surplus ? overcommit - surplus : 0);
  }
};

// nullopt: this machine has no pages of that size. Thread-safe.
// Source: Documentation/admin-guide/mm/hugetlbpage.rst.
std::optional<HugePagePool> ReadHugePagePool(size_t page_bytes);

// Where an administrator sets the pool's size: "vm.nr_hugepages" for 2 MiB pages, else the
// file in /sys. Thread-safe.
std::string HugePagePoolSetting(size_t page_bytes);

// Why this process cannot have transparent huge pages: a clause that names the setting
// ("switched off in /sys/kernel/mm/..."). nullopt: nothing forbids them. Thread-safe.
// Source: Documentation/admin-guide/mm/transhuge.rst; prctl(2), PR_GET_THP_DISABLE.
std::optional<std::string> WhyNoTransparentHugePages();

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_HUGE_PAGE_SETTINGS_H_
