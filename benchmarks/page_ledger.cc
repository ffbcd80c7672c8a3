#include "benchmarks/page_ledger.h"

#include "absl/strings/str_cat.h"
#include "benchmarks/exit_code.h"
#include "benchmarks/verify_pattern.h"

namespace fixpool::benchmarks {

void PageLedger::SetAll(uint32_t sequence) {
  for (uint64_t page = 0; page < pages_; ++page) Set(page, sequence);
}

absl::Status PageLedger::Damage(uint64_t page, size_t wrong_byte) const {
  return WrongDataError(absl::StrCat("page ", page, " does not hold what was written: byte ",
                                     wrong_byte, " of it, at ", page * page_bytes_ + wrong_byte,
                                     " in the file, is wrong"));
}

absl::Status PageLedger::Check(uint64_t page, absl::Span<const std::byte> bytes) const {
  const PatternCheck found = CheckPattern(bytes, page * page_bytes_);
  if (!found.intact) return Damage(page, found.wrong_byte);
  const uint32_t expected = Get(page);
  if (expected == kAny) return absl::OkStatus();
  if (found.mixed) {
    return WrongDataError(absl::StrCat("page ", page, " is torn: it holds write number ",
                                       found.sequence, " and another one"));
  }
  if (found.sequence != expected) {
    return WrongDataError(absl::StrCat("page ", page, " holds write number ", found.sequence,
                                       " and not the latest, number ", expected));
  }
  return absl::OkStatus();
}

absl::Status PageLedger::Learn(uint64_t page, absl::Span<const std::byte> bytes) {
  const PatternCheck found = CheckPattern(bytes, page * page_bytes_);
  if (!found.intact) return Damage(page, found.wrong_byte);
  Set(page, found.mixed || found.sequence >= kAny ? kAny : static_cast<uint32_t>(found.sequence));
  return absl::OkStatus();
}

}  // namespace fixpool::benchmarks
