#include "tests/simulation/page_pattern.h"

#include <cstring>

namespace fixpool::simulation {
namespace {

constexpr size_t kWords = kSectorBytes / sizeof(uint64_t);
constexpr uint64_t kStep = 0x9e3779b97f4a7c15u;

uint64_t BaseOf(const PatternKey& key, size_t sector, Tag tag) {
  uint64_t base = key.seed * 0xbf58476d1ce4e5b9u + key.file;
  base = (base ^ (base >> 31)) * 0x94d049bb133111ebu + key.page * kSectors + sector;
  base = (base ^ (base >> 30)) * 0xbf58476d1ce4e5b9u + tag;
  return base ^ (base >> 27);
}

size_t WordsOf(const PatternKey& key, size_t sector) {
  return sector == kSectors - 1 ? kWords - key.trailer_bytes / sizeof(uint64_t) : kWords;
}

}  // namespace

void FillSector(const PatternKey& key, size_t sector, Tag tag, std::byte* bytes) {
  const size_t length_bytes = WordsOf(key, sector) * sizeof(uint64_t);
  if (tag == 0) {
    std::memset(bytes, 0, length_bytes);
    return;
  }
  uint64_t words[kWords];
  const uint64_t base = BaseOf(key, sector, tag);
  for (size_t i = 0; i < kWords; ++i) words[i] = base + i * kStep;
  words[0] = tag;
  std::memcpy(bytes, words, length_bytes);
}

bool SectorIs(const PatternKey& key, size_t sector, Tag tag, const std::byte* bytes) {
  uint64_t words[kWords];
  std::memcpy(words, bytes, kSectorBytes);
  uint64_t different = words[0] ^ tag;
  const uint64_t base = tag == 0 ? 0 : BaseOf(key, sector, tag);
  const uint64_t step = tag == 0 ? 0 : kStep;
  const size_t count = WordsOf(key, sector);
  for (size_t i = 1; i < count; ++i) different |= words[i] ^ (base + i * step);
  return different == 0;
}

std::optional<Tag> ReadSector(const PatternKey& key, size_t sector, const std::byte* bytes) {
  Tag tag;
  std::memcpy(&tag, bytes, sizeof(tag));
  if (!SectorIs(key, sector, tag, bytes)) return std::nullopt;
  return tag;
}

size_t FirstDifference(const PatternKey& key, const PageTags& tags, const std::byte* bytes) {
  for (size_t sector = 0; sector < kSectors; ++sector) {
    if (!SectorIs(key, sector, tags[sector], bytes + sector * kSectorBytes)) return sector;
  }
  return kSectors;
}

}  // namespace fixpool::simulation
