#ifndef FIXPOOL_ARENA_FORMAT_BYTES_H_
#define FIXPOOL_ARENA_FORMAT_BYTES_H_

#include <cstdint>
#include <string>

#include "fixpool/io/require_cpp20.h"

namespace fixpool::arena {

// "1 GiB", "1536 MiB", "4 KiB", "17 bytes": the largest unit that divides it, so that
// nothing is rounded. Thread-safe.
std::string FormatBytes(uint64_t bytes);

}  // namespace fixpool::arena

#endif  // FIXPOOL_ARENA_FORMAT_BYTES_H_
