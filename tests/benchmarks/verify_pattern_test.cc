#include "benchmarks/verify_pattern.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

#include "absl/types/span.h"
#include "gtest/gtest.h"

namespace fixpool::benchmarks {
namespace {

constexpr uint64_t kOffsetBytes = 40960;

struct alignas(8) Page {
  std::array<std::byte, 4096> bytes{};
  absl::Span<std::byte> span() { return absl::MakeSpan(bytes); }
};

TEST(VerifyPatternTest, WhatWasWrittenIsIntact) {
  Page page;
  WritePattern(page.span(), kOffsetBytes, 7);
  const PatternCheck check = CheckPattern(page.span(), kOffsetBytes);
  EXPECT_TRUE(check.intact);
  EXPECT_FALSE(check.mixed);
  EXPECT_EQ(check.sequence, 7u);
}

TEST(VerifyPatternTest, EveryBitCounts) {
  Page page;
  WritePattern(page.span(), kOffsetBytes, 7);
  for (size_t i = 0; i < page.bytes.size(); ++i) {
    const std::byte flip{static_cast<unsigned char>(1u << (i % 8))};
    page.bytes[i] ^= flip;
    const PatternCheck check = CheckPattern(page.span(), kOffsetBytes);
    EXPECT_FALSE(check.intact) << i;
    // A changed seed or sequence shows where it disagrees with the rest of its sector.
    EXPECT_EQ(check.wrong_byte / kPatternSectorBytes, i / kPatternSectorBytes);
    page.bytes[i] ^= flip;
  }
  EXPECT_TRUE(CheckPattern(page.span(), kOffsetBytes).intact);
}

TEST(VerifyPatternTest, NamesTheWrongByteOfTheBody) {
  Page page;
  WritePattern(page.span(), 0, 1);
  page.bytes[1000] ^= std::byte{0x80};
  EXPECT_EQ(CheckPattern(page.span(), 0).wrong_byte, 1000u);
}

TEST(VerifyPatternTest, AnotherPlaceIsNotIntact) {
  Page page;
  WritePattern(page.span(), kOffsetBytes, 7);
  EXPECT_FALSE(CheckPattern(page.span(), kOffsetBytes + 4096).intact);
  EXPECT_FALSE(CheckPattern(page.span(), 0).intact);
}

TEST(VerifyPatternTest, ZerosAreNotThePattern) {
  Page page;
  EXPECT_FALSE(CheckPattern(page.span(), 0).intact);
}

TEST(VerifyPatternTest, ATornPageIsMixed) {
  Page page, newer;
  WritePattern(page.span(), kOffsetBytes, 7);
  WritePattern(newer.span(), kOffsetBytes, 8);
  std::copy(newer.bytes.begin() + 2048, newer.bytes.end(), page.bytes.begin() + 2048);
  const PatternCheck check = CheckPattern(page.span(), kOffsetBytes);
  EXPECT_TRUE(check.intact);
  EXPECT_TRUE(check.mixed);
}

TEST(VerifyPatternTest, IsTheSameWhateverThePageSize) {
  Page whole, parts;
  WritePattern(whole.span(), kOffsetBytes, 7);
  for (size_t at = 0; at < parts.bytes.size(); at += 1024) {
    WritePattern(parts.span().subspan(at, 1024), kOffsetBytes + at, 7);
  }
  EXPECT_EQ(whole.bytes, parts.bytes);
}

TEST(VerifyPatternTest, NoSectorIsZeroNorRepeats) {
  Page page;
  WritePattern(page.span(), 0, 0);
  const std::array<std::byte, kPatternSectorBytes> zeros{};
  for (size_t at = 0; at < page.bytes.size(); at += kPatternSectorBytes) {
    EXPECT_NE(std::memcmp(&page.bytes[at], zeros.data(), zeros.size()), 0);
    if (at > 0) {
      EXPECT_NE(std::memcmp(&page.bytes[at], &page.bytes[0], kPatternSectorBytes), 0);
    }
  }
}

TEST(RestampPatternTest, MovesThePatternToAnotherPlace) {
  Page page;
  WritePattern(page.span(), 0, 1);
  RestampPattern(page.span(), kOffsetBytes, 9);
  const PatternCheck check = CheckPattern(page.span(), kOffsetBytes);
  EXPECT_TRUE(check.intact);
  EXPECT_EQ(check.sequence, 9u);
}

TEST(RestampPatternTest, WritesInFullWhatIsNotThePattern) {
  Page page;
  WritePattern(page.span().first(512), 0, 1);
  std::memset(page.bytes.data() + 512, 'x', page.bytes.size() - 512);
  RestampPattern(page.span(), kOffsetBytes, 9);
  EXPECT_TRUE(CheckPattern(page.span(), kOffsetBytes).intact);
}

}  // namespace
}  // namespace fixpool::benchmarks
