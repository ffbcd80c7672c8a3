#ifndef FIXPOOL_THIRD_PARTY_ISAL_CRC32C_H_
#define FIXPOOL_THIRD_PARTY_ISAL_CRC32C_H_

// The interface of the registry's module crc32c, as far as Fixpool uses it, on top of Intel's
// ISA-L, which Debian packages (it has no libcrc32c) and which is the faster of the two. See
// stand_ins.bzl.

#include <isa-l/crc.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace crc32c {

// The CRC32C (RFC 3720, appendix B.4) of what `crc` is that of, followed by these bytes.
inline uint32_t Extend(uint32_t crc, const uint8_t* data, size_t count) {
  constexpr size_t kMost = size_t{1} << 30;  // ISA-L counts with an int
  while (count > 0) {
    const size_t now = std::min(count, kMost);
    // Not const in its declaration, but left alone.
    crc = ~crc32_iscsi(const_cast<uint8_t*>(data), static_cast<int>(now), ~crc);
    data += now;
    count -= now;
  }
  return crc;
}

inline uint32_t Crc32c(const uint8_t* data, size_t count) { return Extend(0, data, count); }

}  // namespace crc32c

#endif  // FIXPOOL_THIRD_PARTY_ISAL_CRC32C_H_
