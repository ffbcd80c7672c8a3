#include "fixpool/storage/double_write_format.h"

#include <algorithm>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "crc32c/crc32c.h"
#include "fixpool/io/check.h"
#include "fixpool/storage/page_seal.h"

namespace fixpool::storage {
namespace {

constexpr absl::string_view kFrontMagic = "FXDWFRNT";
constexpr absl::string_view kHeaderMagic = "FXDWBTCH";
constexpr uint32_t kVersion = 1;

// The format on disk: see the header. Whoever changes it changes kVersion.
constexpr size_t kVersionAt = 8;
constexpr size_t kPageBytesAt = 12;
constexpr size_t kIdentityAt = 16;
constexpr size_t kGenerationAt = 24;  // of a front
constexpr size_t kFirstAt = 32;
constexpr size_t kSequenceAt = 24;  // of a header
constexpr size_t kCopiesAt = 32;
constexpr size_t kNeededAt = 36;
constexpr size_t kEntriesAt = 64;
constexpr size_t kCopyBytes = 16;
constexpr size_t kFrontBytes = 512;
constexpr size_t kHeaderBytes = kDoubleWriteLeastPage;
static_assert(kEntriesAt + DoubleWriteHeader::kMostCopies * kCopyBytes +
                  DoubleWriteHeader::kMostNeeded * sizeof(uint64_t) <=
              kHeaderBytes - sizeof(uint32_t));

template <typename Int>
void Put(std::span<std::byte> to, size_t at, Int value) {
  for (size_t i = 0; i < sizeof(Int); ++i) to[at + i] = std::byte(value >> (8 * i));
}

template <typename Int>
Int Get(std::span<const std::byte> from, size_t at) {
  Int value = 0;
  for (size_t i = 0; i < sizeof(Int); ++i) {
    value = static_cast<Int>(value | std::to_integer<Int>(from[at + i]) << (8 * i));
  }
  return value;
}

uint32_t Crc(std::span<const std::byte> bytes) {
  return crc32c::Crc32c(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
}

// What fronts and headers have in common, with the checksum in the last of `bytes`.
void Begin(absl::string_view magic, uint32_t page_bytes, uint64_t identity,
           std::span<std::byte> page) {
  FIXPOOL_CHECK(page.size() >= kDoubleWriteLeastPage, "a page too small for its area");
  std::memset(page.data(), 0, page.size());
  std::memcpy(page.data(), magic.data(), magic.size());
  Put<uint32_t>(page, kVersionAt, kVersion);
  Put<uint32_t>(page, kPageBytesAt, page_bytes);
  Put<uint64_t>(page, kIdentityAt, identity);
}

void Finish(std::span<std::byte> page, size_t bytes) {
  const size_t at = bytes - sizeof(uint32_t);
  Put<uint32_t>(page, at, Crc(page.first(at)));
}

absl::Status Check(absl::string_view magic, std::span<const std::byte> page, size_t bytes) {
  FIXPOOL_CHECK(page.size() >= kDoubleWriteLeastPage, "a page too small for its area");
  if (std::memcmp(page.data(), magic.data(), magic.size()) != 0) {
    if (IsAllZeros(page.first(bytes))) return absl::NotFoundError("nothing was written there");
    return absl::DataLossError(absl::StrCat("it does not begin with \"", magic, "\""));
  }
  const size_t at = bytes - sizeof(uint32_t);
  if (Get<uint32_t>(page, at) != Crc(page.first(at))) {
    return absl::DataLossError("its checksum is wrong");
  }
  if (const auto version = Get<uint32_t>(page, kVersionAt); version != kVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("it has format version ", version, ", where this library knows ", kVersion));
  }
  return absl::OkStatus();
}

}  // namespace

uint64_t DoubleWriteChecksum(std::span<const std::byte> page) {
  const size_t at = page.size() - sizeof(uint32_t);
  return Crc(page.first(at)) | uint64_t{Get<uint32_t>(page, at)} << 32;
}

void EncodeFront(const DoubleWriteFront& front, std::span<std::byte> page) {
  Begin(kFrontMagic, front.page_bytes, front.identity, page);
  Put<uint64_t>(page, kGenerationAt, front.generation);
  Put<uint64_t>(page, kFirstAt, front.first_sequence);
  Finish(page, kFrontBytes);
}

void EncodeHeader(const DoubleWriteHeader& header, std::span<std::byte> page) {
  FIXPOOL_CHECK(header.copies.size() <= DoubleWriteHeader::kMostCopies &&
                    header.needed.size() <= DoubleWriteHeader::kMostNeeded,
                "a batch of a double-write area that does not fit in its header");
  Begin(kHeaderMagic, header.page_bytes, header.identity, page);
  Put<uint64_t>(page, kSequenceAt, header.sequence);
  Put<uint32_t>(page, kCopiesAt, static_cast<uint32_t>(header.copies.size()));
  Put<uint32_t>(page, kNeededAt, static_cast<uint32_t>(header.needed.size()));
  size_t at = kEntriesAt;
  for (const DoubleWriteHeader::Copy& copy : header.copies) {
    Put<uint64_t>(page, at, copy.page_number);
    Put<uint64_t>(page, at + sizeof(uint64_t), copy.checksum);
    at += kCopyBytes;
  }
  for (const uint64_t sequence : header.needed) {
    Put<uint64_t>(page, at, sequence);
    at += sizeof(uint64_t);
  }
  Finish(page, kHeaderBytes);
}

absl::StatusOr<DoubleWriteFront> DecodeFront(std::span<const std::byte> page) {
  if (absl::Status status = Check(kFrontMagic, page, kFrontBytes); !status.ok()) return status;
  return DoubleWriteFront{.page_bytes = Get<uint32_t>(page, kPageBytesAt),
                          .identity = Get<uint64_t>(page, kIdentityAt),
                          .generation = Get<uint64_t>(page, kGenerationAt),
                          .first_sequence = Get<uint64_t>(page, kFirstAt)};
}

absl::StatusOr<DoubleWriteHeader> DecodeHeader(std::span<const std::byte> page) {
  if (absl::Status status = Check(kHeaderMagic, page, kHeaderBytes); !status.ok()) return status;
  DoubleWriteHeader header{.page_bytes = Get<uint32_t>(page, kPageBytesAt),
                           .identity = Get<uint64_t>(page, kIdentityAt),
                           .sequence = Get<uint64_t>(page, kSequenceAt),
                           .copies = {},
                           .needed = {}};
  const auto copies = Get<uint32_t>(page, kCopiesAt);
  const auto needed = Get<uint32_t>(page, kNeededAt);
  if (copies > DoubleWriteHeader::kMostCopies || needed > DoubleWriteHeader::kMostNeeded) {
    return absl::DataLossError(absl::StrCat("it is of ", copies, " pages, with ", needed,
                                            " other batches: more than there can be"));
  }
  size_t at = kEntriesAt;
  for (uint32_t i = 0; i < copies; ++i, at += kCopyBytes) {
    header.copies.push_back({.page_number = Get<uint64_t>(page, at),
                             .checksum = Get<uint64_t>(page, at + sizeof(uint64_t))});
  }
  for (uint32_t i = 0; i < needed; ++i, at += sizeof(uint64_t)) {
    header.needed.push_back(Get<uint64_t>(page, at));
  }
  return header;
}

}  // namespace fixpool::storage
