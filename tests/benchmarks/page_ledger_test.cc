#include "benchmarks/page_ledger.h"

#include <array>
#include <cstddef>

#include "absl/types/span.h"
#include "benchmarks/exit_code.h"
#include "benchmarks/verify_pattern.h"
#include "gtest/gtest.h"

namespace fixpool::benchmarks {
namespace {

constexpr uint32_t kPageBytes = 1024;

struct alignas(8) Page {
  std::array<std::byte, kPageBytes> bytes{};
  absl::Span<std::byte> span() { return absl::MakeSpan(bytes); }
};

TEST(PageLedgerTest, AcceptsTheLatestWrite) {
  PageLedger ledger(10, kPageBytes);
  ledger.SetAll(1);
  Page page;
  WritePattern(page.span(), 3 * kPageBytes, 1);
  EXPECT_TRUE(ledger.Check(3, page.span()).ok());
}

TEST(PageLedgerTest, RefusesAnOlderWrite) {
  PageLedger ledger(10, kPageBytes);
  ledger.Set(3, 2);
  Page page;
  WritePattern(page.span(), 3 * kPageBytes, 1);
  const absl::Status status = ledger.Check(3, page.span());
  EXPECT_EQ(ExitCodeOf(status), kExitWrongData);
  EXPECT_EQ(status.message(), "page 3 holds write number 1 and not the latest, number 2");
}

TEST(PageLedgerTest, RefusesATornPage) {
  PageLedger ledger(10, kPageBytes);
  ledger.Set(3, 2);
  Page page;
  WritePattern(page.span(), 3 * kPageBytes, 2);
  WritePattern(page.span().subspan(512), 3 * kPageBytes + 512, 1);
  EXPECT_EQ(ExitCodeOf(ledger.Check(3, page.span())), kExitWrongData);
}

TEST(PageLedgerTest, NamesTheWrongByte) {
  PageLedger ledger(10, kPageBytes);
  ledger.Set(3, 2);
  Page page;
  WritePattern(page.span(), 3 * kPageBytes, 2);
  page.bytes[700] ^= std::byte{1};
  const absl::Status status = ledger.Check(3, page.span());
  EXPECT_EQ(ExitCodeOf(status), kExitWrongData);
  EXPECT_EQ(status.message(),
            "page 3 does not hold what was written: byte 700 of it, at 3772 in the file, is wrong");
}

TEST(PageLedgerTest, LearnsWhatAPageHolds) {
  PageLedger ledger(10, kPageBytes);
  Page page;
  WritePattern(page.span(), 3 * kPageBytes, 77);
  EXPECT_TRUE(ledger.Learn(3, page.span()).ok());
  EXPECT_EQ(ledger.Get(3), 77u);
  EXPECT_EQ(ledger.NextSequence(3), 78u);
}

TEST(PageLedgerTest, LearnsThatAnySequenceWillDo) {
  PageLedger ledger(10, kPageBytes);
  Page page;
  WritePattern(page.span(), 3 * kPageBytes, 2);
  WritePattern(page.span().subspan(512), 3 * kPageBytes + 512, 1);
  EXPECT_TRUE(ledger.Learn(3, page.span()).ok());
  EXPECT_EQ(ledger.Get(3), PageLedger::kAny);
  EXPECT_TRUE(ledger.Check(3, page.span()).ok());
  EXPECT_EQ(ledger.NextSequence(3), 1u);
}

TEST(PageLedgerTest, DoesNotLearnDamage) {
  PageLedger ledger(10, kPageBytes);
  Page page;
  EXPECT_EQ(ExitCodeOf(ledger.Learn(3, page.span())), kExitWrongData);
}

TEST(PageLedgerTest, SequencesWrapAroundBelowAny) {
  PageLedger ledger(1, kPageBytes);
  ledger.Set(0, PageLedger::kAny - 2);
  EXPECT_EQ(ledger.NextSequence(0), PageLedger::kAny - 1);
  ledger.Set(0, PageLedger::kAny - 1);
  EXPECT_EQ(ledger.NextSequence(0), 1u);
}

}  // namespace
}  // namespace fixpool::benchmarks
