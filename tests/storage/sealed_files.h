#ifndef FIXPOOL_TESTS_STORAGE_SEALED_FILES_H_
#define FIXPOOL_TESTS_STORAGE_SEALED_FILES_H_

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/storage/crc32c_seal.h"
#include "fixpool/storage/file_options.h"
#include "fixpool/storage/lsn.h"
#include "fixpool/storage/page_guard.h"
#include "fixpool/storage/page_seal.h"
#include "gtest/gtest.h"
#include "tests/storage/cache_fixture.h"

namespace fixpool::tests {

inline constexpr uint64_t kIdentity = 0x5eed'0000'0000'0001;
inline constexpr uint32_t kPayloadBytes = kPageBytes - storage::Crc32cSeal::kTrailerBytes;

inline storage::FileOptions Sealed(uint64_t identity = kIdentity) {
  return {.create = true, .seal = std::make_shared<storage::Crc32cSeal>(), .identity = identity};
}

// The payload of a sealed page.
inline std::string Payload(uint64_t page_number, uint64_t version = 0) {
  return PageText(page_number, version).substr(0, kPayloadBytes);
}

// What is on disk at that page, and what becomes of it behind the back of all caches.
inline std::string PageOnDisk(const std::string& path, uint64_t page_number) {
  return ReadWholeFile(path).substr(page_number * kPageBytes, kPageBytes);
}
inline void PutOnDisk(const std::string& path, uint64_t offset_bytes, const std::string& bytes) {
  const int descriptor = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_GE(descriptor, 0);
  EXPECT_EQ(pwrite(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(offset_bytes)),
            static_cast<ssize_t>(bytes.size()));
  close(descriptor);
}
inline void FlipBitOnDisk(const std::string& path, uint64_t page_number, size_t byte) {
  char changed = PageOnDisk(path, page_number)[byte];
  changed ^= 0x10;
  PutOnDisk(path, page_number * kPageBytes + byte, std::string(1, changed));
}

// The LSN in the seal of a page's bytes on disk.
inline absl::StatusOr<storage::Lsn> LsnIn(const std::string& page, uint64_t page_number,
                                          uint64_t identity = kIdentity) {
  return storage::Crc32cSeal().Verify(std::as_bytes(std::span(page)),
                                      {.page_number = page_number, .file_identity = identity});
}

// A seal of a user's: the sum of the page's bytes, its number, and an LSN. Counts what it is asked.
class SumSeal final : public storage::PageSeal {
 public:
  uint32_t trailer_bytes() const override { return 24; }
  void Seal(std::span<std::byte> page, const Place& place, storage::Lsn lsn) const override {
    if (during) during();
    ++sealed;
    const uint64_t trailer[3] = {Sum(page), place.page_number ^ place.file_identity, ToInt(lsn)};
    std::memcpy(page.data() + page.size() - 24, trailer, 24);
  }
  absl::StatusOr<storage::Lsn> Verify(std::span<const std::byte> page,
                                      const Place& place) const override {
    if (during) during();
    ++verified;
    uint64_t trailer[3];
    std::memcpy(trailer, page.data() + page.size() - 24, 24);
    if (trailer[0] != Sum(page)) return absl::InternalError("the sum is wrong");
    if (trailer[1] != (place.page_number ^ place.file_identity)) {
      return absl::AbortedError("the place is wrong");
    }
    return storage::Lsn{trailer[2]};
  }

  std::function<void()> during;  // set before there are other threads
  mutable std::atomic<int> sealed{0};
  mutable std::atomic<int> verified{0};

 private:
  static uint64_t Sum(std::span<const std::byte> page) {
    uint64_t sum = 1;
    for (const std::byte byte : page.first(page.size() - 24)) {
      sum = sum * 31 + std::to_integer<uint64_t>(byte);
    }
    return sum;
  }
};

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_STORAGE_SEALED_FILES_H_
