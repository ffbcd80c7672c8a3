#include "fixpool/storage/double_write_format.h"

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "crc32c/crc32c.h"
#include "fixpool/storage/crc32c_seal.h"
#include "fixpool/storage/lsn.h"
#include "gtest/gtest.h"

namespace fixpool::storage {
namespace {

uint32_t Crc(const std::vector<std::byte>& page, size_t bytes) {
  return crc32c::Crc32c(reinterpret_cast<const uint8_t*>(page.data()), bytes);
}

std::vector<std::byte> FrontPage() {
  std::vector<std::byte> page(8192, std::byte{0xaa});
  EncodeFront({.page_bytes = 8192, .identity = 77, .generation = 5, .first_sequence = 9}, page);
  return page;
}

DoubleWriteHeader SomeHeader() {
  DoubleWriteHeader header{
      .page_bytes = 4096, .identity = 77, .sequence = 12, .copies = {}, .needed = {}};
  for (uint32_t i = 0; i < DoubleWriteHeader::kMostCopies; ++i) {
    header.copies.push_back({uint64_t{1} << 40 | i, i * 7ull << 30});
  }
  for (uint32_t i = 0; i < DoubleWriteHeader::kMostNeeded; ++i) header.needed.push_back(i + 3);
  return header;
}

TEST(DoubleWriteFormatTest, FrontsAreReadAsTheyWereWritten) {
  const auto front = DecodeFront(FrontPage());
  ASSERT_TRUE(front.ok()) << front.status();
  EXPECT_EQ(front->page_bytes, 8192u);
  EXPECT_EQ(front->identity, 77u);
  EXPECT_EQ(front->generation, 5u);
  EXPECT_EQ(front->first_sequence, 9u);
}

TEST(DoubleWriteFormatTest, HeadersAreReadAsTheyWereWritten) {
  const DoubleWriteHeader header = SomeHeader();
  std::vector<std::byte> page(4096);
  EncodeHeader(header, page);
  const auto read = DecodeHeader(page);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->page_bytes, header.page_bytes);
  EXPECT_EQ(read->identity, header.identity);
  EXPECT_EQ(read->sequence, header.sequence);
  EXPECT_EQ(read->needed, header.needed);
  ASSERT_EQ(read->copies.size(), header.copies.size());
  for (size_t i = 0; i < header.copies.size(); ++i) {
    EXPECT_EQ(read->copies[i].page_number, header.copies[i].page_number);
    EXPECT_EQ(read->copies[i].checksum, header.copies[i].checksum);
  }
}

// The bytes on disk, whatever the machine.
TEST(DoubleWriteFormatTest, BytesAreWhereTheHeaderSaysTheyAre) {
  const std::vector<std::byte> front = FrontPage();
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(front.data()), 8), "FXDWFRNT");
  EXPECT_EQ(front[8], std::byte{1});
  EXPECT_EQ(front[13], std::byte{0x20});
  EXPECT_EQ(front[16], std::byte{77});
  EXPECT_EQ(front[24], std::byte{5});
  EXPECT_EQ(front[32], std::byte{9});
  for (size_t i = 512; i < front.size(); ++i) ASSERT_EQ(front[i], std::byte{0}) << i;
}

TEST(DoubleWriteFormatTest, OfOneBitThatIsWrongItIsTold) {
  std::vector<std::byte> front = FrontPage();
  for (size_t byte = 0; byte < 512; ++byte) {
    front[byte] ^= std::byte{4};
    EXPECT_TRUE(absl::IsDataLoss(DecodeFront(front).status())) << byte;
    front[byte] ^= std::byte{4};
  }
  std::vector<std::byte> page(4096);
  EncodeHeader(SomeHeader(), page);
  for (size_t byte = 0; byte < page.size(); ++byte) {
    page[byte] ^= std::byte{4};
    EXPECT_TRUE(absl::IsDataLoss(DecodeHeader(page).status())) << byte;
    page[byte] ^= std::byte{4};
  }
  EXPECT_TRUE(DecodeHeader(page).ok());
}

// The CRC32C of a page that ends in its CRC32C is always the same.
TEST(DoubleWriteFormatTest, ChecksumsTellSealedPagesApart) {
  std::vector<std::byte> one(4096, std::byte{1}), other(4096, std::byte{2});
  const Crc32cSeal seal;
  seal.Seal(one, {.page_number = 1, .file_identity = 77}, Lsn::kNone);
  seal.Seal(other, {.page_number = 1, .file_identity = 77}, Lsn::kNone);
  EXPECT_EQ(Crc(one, 4096), Crc(other, 4096));
  EXPECT_NE(DoubleWriteChecksum(one), DoubleWriteChecksum(other));
  for (const size_t byte : {0u, 2000u, 4091u, 4092u, 4095u}) {
    std::vector<std::byte> changed = one;
    changed[byte] ^= std::byte{1};
    EXPECT_NE(DoubleWriteChecksum(one), DoubleWriteChecksum(changed)) << byte;
  }
}

TEST(DoubleWriteFormatTest, ZerosAreNothing) {
  const std::vector<std::byte> zeros(4096);
  EXPECT_TRUE(absl::IsNotFound(DecodeFront(zeros).status()));
  EXPECT_TRUE(absl::IsNotFound(DecodeHeader(zeros).status()));
}

// With a checksum that is right for it.
TEST(DoubleWriteFormatTest, AnotherVersionIsTold) {
  std::vector<std::byte> page = FrontPage();
  page[8] = std::byte{2};
  const uint32_t checksum = Crc(page, 508);
  for (size_t i = 0; i < 4; ++i) page[508 + i] = std::byte(checksum >> (8 * i));
  const absl::Status status = DecodeFront(page).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
}

TEST(DoubleWriteFormatTest, MoreThanFitsIsTold) {
  for (const size_t field : {32u, 36u}) {
    std::vector<std::byte> page(4096);
    EncodeHeader(SomeHeader(), page);
    page[field] = std::byte{129};
    const uint32_t checksum = Crc(page, 4092);
    for (size_t i = 0; i < 4; ++i) page[4092 + i] = std::byte(checksum >> (8 * i));
    EXPECT_TRUE(absl::IsDataLoss(DecodeHeader(page).status()));
  }
}

}  // namespace
}  // namespace fixpool::storage
