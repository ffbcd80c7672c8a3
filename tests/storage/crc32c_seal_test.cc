#include "fixpool/storage/crc32c_seal.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "crc32c/crc32c.h"
#include "gtest/gtest.h"

namespace fixpool::storage {
namespace {

using Page = std::vector<std::byte>;

constexpr PageSeal::Place kPlace{.page_number = 0x0102030405, .file_identity = 0xfedcba9876543210};
constexpr Lsn kLsn{0x1122334455667788};
const Crc32cSeal kSeal;

Page PageOf(size_t size_bytes) {
  Page page(size_bytes);
  for (size_t i = 0; i < size_bytes; ++i) page[i] = std::byte(i * 7);
  return page;
}

Page Sealed(size_t size_bytes = 4096, const PageSeal::Place& place = kPlace) {
  Page page = PageOf(size_bytes);
  kSeal.Seal(page, place, kLsn);
  return page;
}

// Makes the checksum right again, for damage that a checksum does not show.
void FixChecksum(Page& page) {
  const uint32_t checksum =
      crc32c::Crc32c(reinterpret_cast<const uint8_t*>(page.data()), page.size() - 4);
  for (size_t i = 0; i < 4; ++i) page[page.size() - 4 + i] = std::byte(checksum >> (8 * i));
}

void ExpectDataLoss(const Page& page, const PageSeal::Place& place, const std::string& what,
                    const std::string& expected, const std::string& found) {
  const absl::StatusOr<Lsn> lsn = kSeal.Verify(page, place);
  ASSERT_TRUE(absl::IsDataLoss(lsn.status())) << lsn.status();
  const std::string begin = absl::StrCat(what, ": expected ", expected, ", found ", found, "; ");
  EXPECT_EQ(lsn.status().message().substr(0, begin.size()), begin);
}

TEST(Crc32cSealTest, VerifiesWhatItSealed) {
  for (size_t size_bytes = 64; size_bytes <= size_t{1} << 20; size_bytes *= 2) {
    const Page page = Sealed(size_bytes);
    const absl::StatusOr<Lsn> lsn = kSeal.Verify(page, kPlace);
    ASSERT_TRUE(lsn.ok()) << lsn.status();
    EXPECT_EQ(*lsn, kLsn);
    const Page before = PageOf(size_bytes);
    EXPECT_TRUE(std::equal(page.begin(), page.end() - kSeal.trailer_bytes(), before.begin()));
  }
}

// Made by another program, from the description of the format.
TEST(Crc32cSealTest, WritesTheseBytes) {
  constexpr std::array<uint8_t, 32> kTrailer = {0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
                                                0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe,
                                                0x05, 0x04, 0x03, 0x02, 0x01, 0x00, 0x00, 0x00,
                                                0x46, 0x58, 0x01, 0x0c, 0x79, 0xda, 0x49, 0xb7};
  const Page page = Sealed();
  ASSERT_EQ(kSeal.trailer_bytes(), kTrailer.size());
  for (size_t i = 0; i < kTrailer.size(); ++i) {
    EXPECT_EQ(page[page.size() - 32 + i], std::byte(kTrailer[i])) << "byte " << i;
  }
}

// As in RFC 3720, appendix B.4.
TEST(Crc32cSealTest, ChecksumIsThatOfTheStandard) {
  const std::string digits = "123456789";
  const auto* const data = reinterpret_cast<const uint8_t*>(digits.data());
  EXPECT_EQ(crc32c::Crc32c(data, 9), 0xe3069283u);
  EXPECT_EQ(crc32c::Extend(crc32c::Crc32c(data, 4), data + 4, 5), 0xe3069283u);
  EXPECT_EQ(crc32c::Crc32c(data, 0), 0u);
  const std::array<uint8_t, 32> zeros{};
  EXPECT_EQ(crc32c::Crc32c(zeros.data(), zeros.size()), 0x8a9136aau);
}

TEST(Crc32cSealTest, SeesEachFlippedBit) {
  Page page = Sealed();
  for (size_t bit = 0; bit < page.size() * 8; ++bit) {
    const std::byte mask{static_cast<uint8_t>(1u << bit % 8)};
    page[bit / 8] ^= mask;
    ASSERT_TRUE(absl::IsDataLoss(kSeal.Verify(page, kPlace).status())) << "bit " << bit;
    page[bit / 8] ^= mask;
  }
  EXPECT_TRUE(kSeal.Verify(page, kPlace).ok());
}

TEST(Crc32cSealTest, SeesEachByteThatIsCleared) {
  for (size_t i = 0; i < 4096; ++i) {
    Page page = Sealed();
    if (page[i] == std::byte{0}) continue;
    page[i] = std::byte{0};
    ASSERT_TRUE(absl::IsDataLoss(kSeal.Verify(page, kPlace).status())) << "byte " << i;
  }
}

TEST(Crc32cSealTest, SeesATornPage) {
  Page before = PageOf(4096), after = PageOf(4096);
  std::fill(after.begin(), after.begin() + 3000, std::byte{9});
  kSeal.Seal(before, kPlace, Lsn{1});
  kSeal.Seal(after, kPlace, Lsn{2});
  for (size_t sectors = 1; sectors < 8; ++sectors) {
    Page torn = before;
    std::copy_n(after.begin(), sectors * 512, torn.begin());
    EXPECT_TRUE(absl::IsDataLoss(kSeal.Verify(torn, kPlace).status())) << sectors;
  }
}

TEST(Crc32cSealTest, SaysWhatDiffers) {
  Page page = Sealed();
  page[4096 - 8] = std::byte{'G'};
  ExpectDataLoss(page, kPlace, "magic", "0x5846", "0x5847");
  page = Sealed();
  page[4096 - 6] = std::byte{2};
  ExpectDataLoss(page, kPlace, "format version", "1", "2");
  page = Sealed();
  page[4096 - 5] = std::byte{13};
  ExpectDataLoss(page, kPlace, "page size", "2^12 bytes", "2^13 bytes");
  page = Sealed();
  page[4096 - 1] ^= std::byte{1};
  ExpectDataLoss(page, kPlace, "checksum", "0xb749da79 for the bytes that are there", "0xb649da79");
}

// In each of these the checksum is that of the page.
TEST(Crc32cSealTest, SeesAPageOfElsewhere) {
  PageSeal::Place place = kPlace;
  place.page_number = 42;
  ExpectDataLoss(Sealed(), place, "page number", "42", absl::StrCat(kPlace.page_number));
  place = kPlace;
  place.file_identity = 0x5eed;
  ExpectDataLoss(Sealed(), place, "file identity", "0x5eed", "0xfedcba9876543210");
  Page page = Sealed();
  page[4096 - 16] ^= std::byte{1};
  FixChecksum(page);
  ExpectDataLoss(page, kPlace, "page number", absl::StrCat(kPlace.page_number),
                 absl::StrCat(kPlace.page_number ^ 1));
  page = Sealed();
  page[4096 - 24] ^= std::byte{1};
  FixChecksum(page);
  ExpectDataLoss(page, kPlace, "file identity", "0xfedcba9876543210", "0xfedcba9876543211");
}

TEST(Crc32cSealTest, SeesOtherPageSizes) {
  // The first half of a larger page, and two smaller ones.
  const Page large = Sealed(8192);
  EXPECT_TRUE(
      absl::IsDataLoss(kSeal.Verify(Page(large.begin(), large.begin() + 4096), kPlace).status()));
  ExpectDataLoss(Page(large.begin() + 4096, large.end()), kPlace, "page size", "2^12 bytes",
                 "2^13 bytes");
  Page two = Sealed(4096);
  const Page second = Sealed(4096);
  two.insert(two.end(), second.begin(), second.end());
  ExpectDataLoss(two, kPlace, "page size", "2^13 bytes", "2^12 bytes");
}

TEST(Crc32cSealTest, ZerosWereNeverWritten) {
  Page page(4096);
  const absl::StatusOr<Lsn> lsn = kSeal.Verify(page, kPlace);
  ASSERT_TRUE(lsn.ok()) << lsn.status();
  EXPECT_EQ(*lsn, Lsn::kNone);
  page[100] = std::byte{1};
  ExpectDataLoss(page, kPlace, "magic", "0x5846", "0x0");
  // A page of zeros that was sealed is no page of zeros.
  page[100] = std::byte{0};
  kSeal.Seal(page, kPlace, kLsn);
  EXPECT_FALSE(IsAllZeros(page));
  EXPECT_EQ(*kSeal.Verify(page, kPlace), kLsn);
}

TEST(Crc32cSealTest, RefusesSizesThatAreNoPages) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Page odd(4095), tiny(32);
  EXPECT_DEATH(kSeal.Seal(odd, kPlace, kLsn), "no power of two");
  EXPECT_DEATH((void)kSeal.Verify(tiny, kPlace), "no power of two");
}

}  // namespace
}  // namespace fixpool::storage
