#ifndef FIXPOOL_TESTS_SUPPORT_HUGE_PAGES_H_
#define FIXPOOL_TESTS_SUPPORT_HUGE_PAGES_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace fixpool::tests {

// Free hugetlb pages for a test: makes the machine's pool larger and, when destroyed, as large
// as it was.
//
//   absl::StatusOr<HugePageReservation> pages = HugePageReservation::Take(2 << 20, 8);
//   if (!pages.ok()) GTEST_SKIP() << pages.status().message();
//
// One process at a time has one: it holds a lock on the setting. But whoever maps huge pages
// meanwhile gets these, so a test that needs them all is `exclusive`. Move-only.
class [[nodiscard]] HugePageReservation {
 public:
  // Fails, with the reason to skip, where the process is not root, the machine has no pages of
  // that size, or the kernel cannot find the memory.
  static absl::StatusOr<HugePageReservation> Take(size_t page_bytes, uint64_t count);

  HugePageReservation(HugePageReservation&& other) noexcept;
  HugePageReservation& operator=(HugePageReservation&&) = delete;
  ~HugePageReservation();

 private:
  HugePageReservation(std::string setting, uint64_t count_before, int lock)
      : setting_(std::move(setting)), count_before_(count_before), lock_(lock) {}

  std::string setting_;
  uint64_t count_before_;
  int lock_;  // -1: moved from
};

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_SUPPORT_HUGE_PAGES_H_
