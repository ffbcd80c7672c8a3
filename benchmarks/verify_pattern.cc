#include "benchmarks/verify_pattern.h"

#include <cstring>

namespace fixpool::benchmarks {
namespace {

constexpr size_t kBodyWords = kPatternSectorBytes / 8 - 5;
constexpr uint64_t kMagic = 0x314F494547415046;  // "FPAGEIO1" in memory

struct Sector {
  uint64_t magic;
  uint64_t offset_bytes;
  uint64_t sequence;
  uint64_t seed;
  uint64_t header_hash;
  uint64_t body[kBodyWords];
};
static_assert(sizeof(Sector) == kPatternSectorBytes);

// The finisher of SplitMix64.
uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

uint64_t HeaderHash(uint64_t offset_bytes, uint64_t sequence, uint64_t seed) {
  return Mix(Mix(Mix(offset_bytes + kMagic) + sequence) + seed);
}

// Cheap enough to be vectorised, and nothing that a disk could compress.
uint64_t BodyWord(uint64_t seed, size_t index) {
  const uint64_t x = seed + (index + 1) * 0x9E3779B97F4A7C15;
  return x ^ (x >> 29);
}

void StampHeader(Sector& sector, uint64_t offset_bytes, uint64_t sequence) {
  sector.offset_bytes = offset_bytes;
  sector.sequence = sequence;
  sector.header_hash = HeaderHash(offset_bytes, sequence, sector.seed);
}

void WriteSector(Sector& sector, uint64_t offset_bytes, uint64_t sequence) {
  sector.magic = kMagic;
  sector.seed = Mix(offset_bytes ^ Mix(sequence + 1));
  StampHeader(sector, offset_bytes, sequence);
  for (size_t i = 0; i < kBodyWords; ++i) sector.body[i] = BodyWord(sector.seed, i);
}

// What the sector would be if its seed and sequence are to be believed.
Sector Expected(const Sector& sector, uint64_t offset_bytes) {
  Sector expected;
  expected.magic = kMagic;
  expected.seed = sector.seed;
  StampHeader(expected, offset_bytes, sector.sequence);
  for (size_t i = 0; i < kBodyWords; ++i) expected.body[i] = BodyWord(sector.seed, i);
  return expected;
}

size_t FirstDifference(const Sector& sector, const Sector& expected) {
  const auto* a = reinterpret_cast<const unsigned char*>(&sector);
  const auto* b = reinterpret_cast<const unsigned char*>(&expected);
  for (size_t i = 0; i < sizeof(Sector); ++i) {
    if (a[i] != b[i]) return i;
  }
  return sizeof(Sector);
}

}  // namespace

void WritePattern(absl::Span<std::byte> bytes, uint64_t offset_bytes, uint64_t sequence) {
  for (size_t at = 0; at + sizeof(Sector) <= bytes.size(); at += sizeof(Sector)) {
    WriteSector(*reinterpret_cast<Sector*>(bytes.data() + at), offset_bytes + at, sequence);
  }
}

void RestampPattern(absl::Span<std::byte> bytes, uint64_t offset_bytes, uint64_t sequence) {
  for (size_t at = 0; at + sizeof(Sector) <= bytes.size(); at += sizeof(Sector)) {
    Sector& sector = *reinterpret_cast<Sector*>(bytes.data() + at);
    if (sector.magic == kMagic) {
      StampHeader(sector, offset_bytes + at, sequence);
    } else {
      WriteSector(sector, offset_bytes + at, sequence);
    }
  }
}

PatternCheck CheckPattern(absl::Span<const std::byte> bytes, uint64_t offset_bytes) {
  PatternCheck check;
  for (size_t at = 0; at + sizeof(Sector) <= bytes.size(); at += sizeof(Sector)) {
    const Sector& sector = *reinterpret_cast<const Sector*>(bytes.data() + at);
    const Sector expected = Expected(sector, offset_bytes + at);
    if (std::memcmp(&sector, &expected, sizeof(Sector)) != 0) {
      check.wrong_byte = at + FirstDifference(sector, expected);
      return check;
    }
    if (at == 0) check.sequence = sector.sequence;
    if (sector.sequence != check.sequence) check.mixed = true;
  }
  check.intact = true;
  return check;
}

}  // namespace fixpool::benchmarks
