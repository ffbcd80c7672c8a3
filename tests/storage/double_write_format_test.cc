#include "fixpool/storage/double_write_format.h"

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"

namespace fixpool::storage {
namespace {

std::vector<std::byte> FrontPage() {
  std::vector<std::byte> page(8192, std::byte{0xaa});
  EncodeFront({.page_bytes = 8192, .identity = 77, .generation = 5, .first_sequence = 9}, page);
  return page;
}

DoubleWriteHeader SomeHeader() {
  DoubleWriteHeader header{
      .page_bytes = 4096, .identity = 77, .sequence = 12, .copies = {}, .needed = {}};
  for (uint32_t i = 0; i < DoubleWriteHeader::kMostCopies; ++i) {
    header.copies.push_back({uint64_t{1} << 40 | i, i * 7});
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

TEST(DoubleWriteFormatTest, ZerosAreNothing) {
  const std::vector<std::byte> zeros(4096);
  EXPECT_TRUE(absl::IsNotFound(DecodeFront(zeros).status()));
  EXPECT_TRUE(absl::IsNotFound(DecodeHeader(zeros).status()));
}

// With a checksum that is right for it.
TEST(DoubleWriteFormatTest, AnotherVersionIsTold) {
  std::vector<std::byte> page = FrontPage();
  page[8] = std::byte{2};
  const uint32_t checksum = DoubleWriteChecksum(std::span(page).first(508));
  for (size_t i = 0; i < 4; ++i) page[508 + i] = std::byte(checksum >> (8 * i));
  const absl::Status status = DecodeFront(page).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
}

TEST(DoubleWriteFormatTest, MoreThanFitsIsTold) {
  for (const size_t field : {32u, 36u}) {
    std::vector<std::byte> page(4096);
    EncodeHeader(SomeHeader(), page);
    page[field] = std::byte{129};
    const uint32_t checksum = DoubleWriteChecksum(std::span(page).first(4092));
    for (size_t i = 0; i < 4; ++i) page[4092 + i] = std::byte(checksum >> (8 * i));
    EXPECT_TRUE(absl::IsDataLoss(DecodeHeader(page).status()));
  }
}

}  // namespace
}  // namespace fixpool::storage
