#include "fixpool/storage/crc32c_seal.h"

#include <bit>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "crc32c/crc32c.h"
#include "fixpool/io/check.h"

namespace fixpool::storage {
namespace {

// Where the fields begin, from the beginning of the trailer.
constexpr size_t kLsnAt = 0;
constexpr size_t kIdentityAt = kLsnAt + sizeof(uint64_t);
constexpr size_t kPageNumberAt = kIdentityAt + sizeof(uint64_t);
constexpr size_t kMagicAt = kPageNumberAt + sizeof(uint64_t);
constexpr size_t kVersionAt = kMagicAt + sizeof(uint16_t);
constexpr size_t kLog2SizeAt = kVersionAt + sizeof(uint8_t);
constexpr size_t kChecksumAt = kLog2SizeAt + sizeof(uint8_t);

// The format on disk: see the header. Whoever changes it changes kVersion.
static_assert(kIdentityAt == 8 && kPageNumberAt == 16 && kMagicAt == 24 && kVersionAt == 26 &&
              kLog2SizeAt == 27 && kChecksumAt == 28);
static_assert(kChecksumAt + sizeof(uint32_t) == Crc32cSeal::kTrailerBytes);
static_assert(Crc32cSeal::kTrailerBytes % 8 == 0);

constexpr uint16_t kMagic = 'F' | 'X' << 8;

template <typename Int>
void Put(std::byte* to, Int value) {
  for (size_t i = 0; i < sizeof(Int); ++i) to[i] = std::byte(value >> (8 * i));
}

template <typename Int>
Int Get(const std::byte* from) {
  Int value = 0;
  for (size_t i = 0; i < sizeof(Int); ++i) {
    value = static_cast<Int>(value | std::to_integer<Int>(from[i]) << (8 * i));
  }
  return value;
}

uint8_t Log2Size(size_t page_bytes) {
  FIXPOOL_CHECK(std::has_single_bit(page_bytes) && page_bytes >= 2 * Crc32cSeal::kTrailerBytes,
                "a page to be sealed has a size that is no power of two, or none for a trailer");
  return static_cast<uint8_t>(std::countr_zero(page_bytes));
}

uint32_t ChecksumOf(std::span<const std::byte> page) {
  return crc32c::Crc32c(reinterpret_cast<const uint8_t*>(page.data()),
                        page.size() - sizeof(uint32_t));
}

std::string Hex(uint64_t value) { return absl::StrCat("0x", absl::Hex(value)); }

absl::Status Differs(absl::string_view what, absl::string_view expected, absl::string_view found,
                     absl::string_view meaning) {
  return absl::DataLossError(
      absl::StrCat(what, ": expected ", expected, ", found ", found, "; ", meaning));
}

}  // namespace

void Crc32cSeal::Seal(std::span<std::byte> page, const Place& place, Lsn lsn) const {
  const uint8_t log2_size = Log2Size(page.size());
  std::byte* const trailer = page.data() + page.size() - kTrailerBytes;
  Put<uint64_t>(trailer + kLsnAt, ToInt(lsn));
  Put<uint64_t>(trailer + kIdentityAt, place.file_identity);
  Put<uint64_t>(trailer + kPageNumberAt, place.page_number);
  Put<uint16_t>(trailer + kMagicAt, kMagic);
  Put<uint8_t>(trailer + kVersionAt, kVersion);
  Put<uint8_t>(trailer + kLog2SizeAt, log2_size);
  Put<uint32_t>(trailer + kChecksumAt, ChecksumOf(page));
}

absl::StatusOr<Lsn> Crc32cSeal::Verify(std::span<const std::byte> page, const Place& place) const {
  const uint8_t log2_size = Log2Size(page.size());
  const std::byte* const trailer = page.data() + page.size() - kTrailerBytes;
  if (const auto magic = Get<uint16_t>(trailer + kMagicAt); magic != kMagic) {
    if (magic == 0 && IsAllZeros(page)) return Lsn::kNone;
    return Differs("magic", Hex(kMagic), Hex(magic),
                   "the page was not written with this seal, or its end is damaged");
  }
  if (const auto version = Get<uint8_t>(trailer + kVersionAt); version != kVersion) {
    return Differs("format version", absl::StrCat(kVersion), absl::StrCat(version),
                   "the page was written by another version of the library, or is damaged");
  }
  if (const auto log2 = Get<uint8_t>(trailer + kLog2SizeAt); log2 != log2_size) {
    return Differs("page size", absl::StrCat("2^", log2_size, " bytes"),
                   absl::StrCat("2^", log2, " bytes"),
                   "the file is of other pages than this cache, or the page is damaged");
  }
  const uint32_t checksum = ChecksumOf(page);
  if (const auto found = Get<uint32_t>(trailer + kChecksumAt); found != checksum) {
    return Differs("checksum", absl::StrCat(Hex(checksum), " for the bytes that are there"),
                   Hex(found), "the page is damaged, or was written in part");
  }
  if (const auto number = Get<uint64_t>(trailer + kPageNumberAt); number != place.page_number) {
    return Differs("page number", absl::StrCat(place.page_number), absl::StrCat(number),
                   "another page was written here, or read from elsewhere");
  }
  if (const auto identity = Get<uint64_t>(trailer + kIdentityAt); identity != place.file_identity) {
    return Differs("file identity", Hex(place.file_identity), Hex(identity),
                   "the page is another file's");
  }
  return Lsn{Get<uint64_t>(trailer + kLsnAt)};
}

}  // namespace fixpool::storage
