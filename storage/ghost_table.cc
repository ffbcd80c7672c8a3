#include "fixpool/storage/ghost_table.h"

#include <algorithm>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "fixpool/io/check.h"

namespace fixpool::storage {
namespace {

// Not absl::Hash, which differs from one process to the next: what is evicted is to depend on
// what was asked for alone. The last step of MurmurHash3.
uint64_t HashOf(const PageId& page) {
  uint64_t bits = page.page_number ^ uint64_t { page.file.generation() } << 32;
  bits += page.file.slot() * 0x9e3779b97f4a7c15u;
  bits = (bits ^ bits >> 33) * 0xff51afd7ed558ccdu;
  bits = (bits ^ bits >> 33) * 0xc4ceb9fe1a85ec53u;
  return bits ^ bits >> 33;
}

constexpr size_t kSetBytes = 64;
constexpr size_t kUnitBytes = 4096;  // of what the kernel gives and takes

// An eighth more than are to be remembered, so that few sets are full.
uint64_t SetsFor(uint32_t capacity, uint32_t ways) {
  const uint64_t wanted = uint64_t{capacity} + capacity / 8;
  return (wanted + ways - 1) / ways;
}

size_t WholeUnits(size_t bytes) { return (bytes + kUnitBytes - 1) / kUnitBytes * kUnitBytes; }

ZeroedMemory Reserve(size_t size_bytes) {
  absl::StatusOr<ZeroedMemory> memory = ZeroedMemory::ReserveAddresses(WholeUnits(size_bytes));
  FIXPOOL_CHECK(memory.ok(), memory.status().message());
  return *std::move(memory);
}

}  // namespace

size_t GhostTable::BytesFor(uint32_t capacity) { return SetsFor(capacity, kWays) * kSetBytes; }

GhostTable::GhostTable(const Options& options)
    : memory_(Reserve(BytesFor(std::max(options.max_capacity, options.most_capacity)))) {
  static_assert(kWays * sizeof(Entry) == kSetBytes);
  const absl::Status status = MakeRoom(options.max_capacity);
  FIXPOOL_CHECK(status.ok(), status.message());
  SetCapacity(options.capacity);
}

absl::Status GhostTable::MakeRoom(uint32_t max_capacity) {
  return memory_.MakeAccessible(BytesFor(max_capacity));
}

void GhostTable::SetCapacity(uint32_t capacity) {
  FIXPOOL_CHECK(capacity >= 1 && BytesFor(capacity) <= memory_.accessible_bytes(),
                absl::StrCat("a ghost table of ", capacity, " pages"));
  const uint32_t unit = (capacity + kMaxAge - 1) / kMaxAge;
  const uint64_t sets = SetsFor(capacity, kWays);
  // The times of what is in it count in the old unit, and pages would be looked for elsewhere.
  if (sets_ > 0 && (unit != unit_ || sets != sets_)) {
    memory_.Discard(0, WholeUnits(sets_ * kSetBytes));
  }
  capacity_ = capacity;
  unit_ = unit;
  sets_ = sets;
}

GhostTable::Place GhostTable::PlaceOf(const PageId& page) {
  const uint64_t hash = HashOf(page);
  const uint64_t set = ((hash >> 32) * sets_) >> 32;
  const uint16_t tag = static_cast<uint16_t>(hash);
  return {.set = &entries()[set * kWays], .tag = tag == 0 ? uint16_t{1} : tag};
}

void GhostTable::Add(const PageId& page) {
  const Place place = PlaceOf(page);
  ++added_;
  Entry* victim = place.set;
  for (uint32_t way = 0; way < kWays; ++way) {
    Entry& entry = place.set[way];
    if (entry.tag == 0) {
      victim = &entry;
      break;
    }
    if (AgeOf(entry) > AgeOf(*victim)) victim = &entry;
  }
  *victim = {.tag = place.tag, .time = Now()};
}

bool GhostTable::Take(const PageId& page) {
  const Place place = PlaceOf(page);
  for (uint32_t way = 0; way < kWays; ++way) {
    Entry& entry = place.set[way];
    if (entry.tag != place.tag || AgeOf(entry) >= (capacity_ + unit_ - 1) / unit_) continue;
    entry = Entry();
    return true;
  }
  return false;
}

}  // namespace fixpool::storage
