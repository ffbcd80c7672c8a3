#ifndef FIXPOOL_STORAGE_CRC32C_SEAL_H_
#define FIXPOOL_STORAGE_CRC32C_SEAL_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/lsn.h"
#include "fixpool/storage/page_seal.h"

namespace fixpool::storage {

// The seal that comes with the library: a checksum over page, place and LSN.
//
// Shape: the last 32 bytes of each page, little-endian whatever the machine:
//
//   bytes from the     size  what
//   end of the page
//   -32                  8   LSN
//   -24                  8   identity of the file
//   -16                  8   number of the page
//    -8                  2   magic: the characters 'F', 'X'
//    -6                  1   version of this format: 1
//    -5                  1   binary logarithm of the page's size in bytes
//    -4                  4   CRC32C (RFC 3720) of all bytes of the page before these 4
//
// Any page size that is a power of two from 64 bytes on (CHECKed).
// Threads: thread-safe; it has no state, so one can serve all files of all caches.
// Errors of Verify: DataLoss, which names the first of these that is not as it should be: magic,
// format version, page size, checksum, page number, file identity. In this order, because each one
// says something only if those before it are right: a page of another place has a good
// checksum. A page of zeros has LSN kNone.
// What it cannot see: a write that was lost, so that the page before it is still there; see
// AccessOptions::expected_lsn and docs/page_seals.md.
class Crc32cSeal final : public PageSeal {
 public:
  static constexpr uint32_t kTrailerBytes = 32;
  static constexpr uint8_t kVersion = 1;

  uint32_t trailer_bytes() const override { return kTrailerBytes; }
  void Seal(std::span<std::byte> page, const Place& place, Lsn lsn) const override;
  absl::StatusOr<Lsn> Verify(std::span<const std::byte> page, const Place& place) const override;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_CRC32C_SEAL_H_
