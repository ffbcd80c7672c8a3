#ifndef FIXPOOL_STORAGE_DOUBLE_WRITE_FORMAT_H_
#define FIXPOOL_STORAGE_DOUBLE_WRITE_FORMAT_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/page_id.h"

namespace fixpool::storage {

// What a double-write area has on disk. All in units of pages of the file that it belongs to:
//
//   page 0, 1         two fronts, of which the valid one with the larger generation counts
//   from page 2 on    batches, in no order: a header page, then the copies of up to
//                     kMostCopies pages
//
// Numbers are little-endian whatever the machine.
//
//   front             offset  size     header of a batch   offset  size
//   magic "FXDWFRNT"     0      8      magic "FXDWBTCH"       0      8
//   version: 1           8      4      version: 1             8      4
//   bytes of a page     12      4      bytes of a page       12      4
//   file's identity     16      8      file's identity       16      8
//   generation          24      8      sequence number       24      8
//   first sequence      32      8      copies: n             32      4
//                                      batches needed: m     36      4
//                                      n times: page number  64     16
//                                        (8), checksum of the copy (8)
//                                      m sequence numbers, 8 each
//   CRC32C of 0..507   508      4      CRC32C of 0..4091   4092      4
//
// All else is 0. A front fits in a sector, which disks write as a whole. Batches with numbers below
// the front's first sequence are of the past, and so are, when the one with the largest number
// was written, those that it does not name as needed: their pages are on stable storage, and what
// is left of their copies may be older than that.
struct DoubleWriteFront {
  uint32_t page_bytes = 0;
  uint64_t identity = 0;
  uint64_t generation = 0;
  uint64_t first_sequence = 0;
};
struct DoubleWriteHeader {
  static constexpr uint32_t kMostCopies = 128;
  static constexpr uint32_t kMostNeeded = 63;
  struct Copy {
    PageNumber page_number = 0;
    uint64_t checksum = 0;
  };
  uint32_t page_bytes = 0;
  uint64_t identity = 0;
  uint64_t sequence = 0;
  std::vector<Copy> copies;
  std::vector<uint64_t> needed;  // other batches, by sequence number
};

inline constexpr uint32_t kDoubleWriteFronts = 2;        // and where batches begin, in pages
inline constexpr uint32_t kDoubleWriteLeastPage = 4096;  // bytes of fronts and headers that count

// Of a copy: the CRC32C of all but its last 4 bytes, and these above it. (Of a page that ends in
// its own CRC32C, as those of Crc32cSeal do, the CRC32C of the whole is the same whatever the page
// is.)
uint64_t DoubleWriteChecksum(std::span<const std::byte> page);

// `page` has kDoubleWriteLeastPage bytes or more.
void EncodeFront(const DoubleWriteFront& front, std::span<std::byte> page);
void EncodeHeader(const DoubleWriteHeader& header, std::span<std::byte> page);

// NotFound: there are only zeros. FailedPrecondition: another version's. DataLoss: anything else.
absl::StatusOr<DoubleWriteFront> DecodeFront(std::span<const std::byte> page);
absl::StatusOr<DoubleWriteHeader> DecodeHeader(std::span<const std::byte> page);

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_DOUBLE_WRITE_FORMAT_H_
