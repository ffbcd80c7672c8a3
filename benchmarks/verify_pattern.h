#ifndef FIXPOOL_BENCHMARKS_VERIFY_PATTERN_H_
#define FIXPOOL_BENCHMARKS_VERIFY_PATTERN_H_

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"

namespace fixpool::benchmarks {

// What page_io writes into files: bytes that know where they belong and how new they are.
//
//   WritePattern(page, page_number * 4096, /*sequence=*/2);
//   PatternCheck found = CheckPattern(page, page_number * 4096);
//   if (!found.intact || found.sequence != 2) ...
//
// Shape: each 512-byte sector stands for itself: a header of five words (magic, the
// sector's offset in the file, sequence, seed, a hash of these) and 59 words that follow
// from the seed. So a file may be checked with another page size than it was written with;
// a lost write shows as an old sequence, a torn one as two sequences in a page, a write that
// went astray as a wrong offset, and any changed byte as damage. No sector is all zeros.
// Buffers are 8-byte aligned and whole sectors.
// Threads: functions of their arguments.
inline constexpr size_t kPatternSectorBytes = 512;

struct PatternCheck {
  bool intact = false;  // every sector is one of the pattern, and for this place
  // Of the first sector; all are the same unless `mixed`. Meaningful if intact.
  uint64_t sequence = 0;
  bool mixed = false;  // written by several writes: with smaller pages, or torn
  // If not intact: of the first byte that is not what it should be, in `bytes`.
  size_t wrong_byte = 0;
};

// Fills `bytes`, which are (to be) at `offset_bytes` in the file.
void WritePattern(absl::Span<std::byte> bytes, uint64_t offset_bytes, uint64_t sequence);

// Makes sectors that hold the pattern of any place hold that of this one, by changing
// nothing but their headers: what a benchmark can afford on every write. Sectors that hold
// anything else are written in full.
void RestampPattern(absl::Span<std::byte> bytes, uint64_t offset_bytes, uint64_t sequence);

PatternCheck CheckPattern(absl::Span<const std::byte> bytes, uint64_t offset_bytes);

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_VERIFY_PATTERN_H_
