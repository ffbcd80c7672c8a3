#include "tests/support/huge_pages.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace fixpool::tests {
namespace {

std::optional<uint64_t> ReadCount(const std::string& path) {
  uint64_t count = 0;
  std::ifstream file(path);
  if (!(file >> count)) return std::nullopt;
  return count;
}

bool WriteCount(const std::string& path, uint64_t count) {
  std::ofstream file(path);
  file << count << std::endl;
  return file.good();
}

}  // namespace

absl::StatusOr<HugePageReservation> HugePageReservation::Take(size_t page_bytes, uint64_t count) {
  const std::string folder =
      absl::StrCat("/sys/kernel/mm/hugepages/hugepages-", page_bytes / 1024, "kB/");
  const std::string setting = folder + "nr_hugepages";
  const int lock = open(setting.c_str(), O_RDWR | O_CLOEXEC);
  if (lock < 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot change ", setting, ": ", std::strerror(errno)));
  }
  flock(lock, LOCK_EX);
  const uint64_t before = ReadCount(setting).value_or(0);
  HugePageReservation reservation(setting, before, lock);
  const auto available = [&folder] {
    const uint64_t free = ReadCount(folder + "free_hugepages").value_or(0);
    const uint64_t promised = ReadCount(folder + "resv_hugepages").value_or(0);
    return free > promised ? free - promised : 0;
  };
  if (available() < count) WriteCount(setting, before + count - available());
  if (available() < count) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the kernel made ", available(), " of ", count, " pages of ",
                     page_bytes / 1024, " KiB available; its memory is short or in pieces"));
  }
  return reservation;
}

HugePageReservation::HugePageReservation(HugePageReservation&& other) noexcept
    : setting_(std::move(other.setting_)),
      count_before_(other.count_before_),
      lock_(std::exchange(other.lock_, -1)) {}

HugePageReservation::~HugePageReservation() {
  if (lock_ < 0) return;
  WriteCount(setting_, count_before_);
  close(lock_);
}

}  // namespace fixpool::tests
