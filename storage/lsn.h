#ifndef FIXPOOL_STORAGE_LSN_H_
#define FIXPOOL_STORAGE_LSN_H_

#include <cstdint>

#include "fixpool/io/require_cpp20.h"

namespace fixpool::storage {

// A place in the caller's write-ahead log: "log sequence number". Later records have larger ones;
// nothing else is known of them here. kNone is before all records: what carries it may be written
// to disk whatever the log says.
enum class Lsn : uint64_t { kNone = 0 };

constexpr uint64_t ToInt(Lsn lsn) { return static_cast<uint64_t>(lsn); }

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_LSN_H_
