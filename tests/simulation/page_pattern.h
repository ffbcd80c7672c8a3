#ifndef FIXPOOL_TESTS_SIMULATION_PAGE_PATTERN_H_
#define FIXPOOL_TESTS_SIMULATION_PAGE_PATTERN_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace fixpool::simulation {

inline constexpr size_t kSectorBytes = 512;
inline constexpr size_t kPageBytes = 4096;
inline constexpr size_t kSectors = kPageBytes / kSectorBytes;  // of a page

// What a sector holds: 0 are zeros, any other a pattern that no other sector of any page, file or
// seed has.
using Tag = uint64_t;
// Of the sectors of a page.
using PageTags = std::array<Tag, kSectors>;

// Which page the pattern is of.
struct PatternKey {
  uint64_t seed = 0;
  uint32_t file = 0;
  uint64_t page = 0;
  // At its end, that belong to a seal: in the last sector the pattern is shorter by these.
  uint32_t trailer_bytes = 0;
};

// Fills sector number `sector` of a page.
void FillSector(const PatternKey& key, size_t sector, Tag tag, std::byte* bytes);
// Whether it holds that pattern, and nothing else.
bool SectorIs(const PatternKey& key, size_t sector, Tag tag, const std::byte* bytes);
// Which one it holds; none: it is torn, or another's.
std::optional<Tag> ReadSector(const PatternKey& key, size_t sector, const std::byte* bytes);
// The first sector of the page that is not as `tags` say; kSectors: there is none.
size_t FirstDifference(const PatternKey& key, const PageTags& tags, const std::byte* bytes);

}  // namespace fixpool::simulation

#endif  // FIXPOOL_TESTS_SIMULATION_PAGE_PATTERN_H_
