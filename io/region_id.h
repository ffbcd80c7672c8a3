#ifndef FIXPOOL_IO_REGION_ID_H_
#define FIXPOOL_IO_REGION_ID_H_

#include "fixpool/io/require_cpp20.h"

#include <cstdint>
#include <functional>
#include <string>

namespace fixpool::io {

// Names one registration of one region in one registry.
//
// 64 bits: slot (16, the index in the kernel's buffer table), owner (16, the registry
// that issued it) and generation (32). A generation is drawn from one counter of the
// process and never issued twice, so an id that was kept beyond its region's life is
// recognised for ever after, whatever was put into the slot since, and at whatever
// address. Any bit pattern is safe to hand to the library: it names a live region or
// it is an error. A value; thread-compatible.
class RegionId {
 public:
  // Names nothing: every use of it is NotFound.
  constexpr RegionId() = default;

  // "This memory is in no region, and I know it": the transfer goes the plain way and
  // the caller keeps the memory alive until the completion. Can never be a slot.
  static const RegionId kUnregistered;

  static constexpr RegionId FromBits(uint64_t bits) { return RegionId(bits); }
  static constexpr RegionId FromParts(uint16_t slot, uint16_t owner, uint32_t generation) {
    return RegionId(uint64_t{generation} << 32 | uint64_t{owner} << 16 | slot);
  }

  constexpr uint64_t bits() const { return bits_; }
  constexpr uint16_t slot() const { return static_cast<uint16_t>(bits_); }
  constexpr uint16_t owner() const { return static_cast<uint16_t>(bits_ >> 16); }
  constexpr uint32_t generation() const { return static_cast<uint32_t>(bits_ >> 32); }
  constexpr bool is_unregistered() const { return bits_ == ~uint64_t{0}; }

  // "region 3 (generation 17, registry 1)".
  std::string ToString() const;

  friend constexpr bool operator==(RegionId, RegionId) = default;
  template <typename H>
  friend H AbslHashValue(H h, RegionId id) {
    return H::combine(std::move(h), id.bits_);
  }

 private:
  explicit constexpr RegionId(uint64_t bits) : bits_(bits) {}
  uint64_t bits_ = 0;  // generation 0 is never issued
};

inline constexpr RegionId RegionId::kUnregistered = RegionId::FromBits(~uint64_t{0});

static_assert(sizeof(RegionId) == 8);

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_REGION_ID_H_
