#ifndef FIXPOOL_STORAGE_ACCESS_OPTIONS_H_
#define FIXPOOL_STORAGE_ACCESS_OPTIONS_H_

#include "fixpool/io/require_cpp20.h"

#include <cstdint>
#include <optional>

#include "absl/time/time.h"
#include "fixpool/storage/lsn.h"

namespace fixpool::storage {

// What the caller knows about the use of a page and the cache does not. Advice only.
enum class Hint : uint8_t {
  kNormal,    // nothing in particular
  kScan,      // one of very many, each looked at once: do not let it displace others
  kPrefetch,  // wanted soon
  kKeep,      // wanted often, though at long intervals: an index root, an allocation map
};

// How one page is fetched. A value; thread-compatible.
struct AccessOptions {
  // How long the call may wait for the disk, for a latch, or for a frame. Zero: not at all,
  // so that only a page in memory can be had (the read of any other is started). Absent:
  // PageCache::Options::default_timeout.
  std::optional<absl::Duration> timeout = std::nullopt;
  Hint hint = Hint::kNormal;
  // What the caller knows of the page from elsewhere, a parent page or the log: it is at least as
  // new as that. One that is older is DataLoss for this caller alone, since a write of it was lost,
  // which no checksum can tell; it stays in memory. Of pages of sealed files only. Not for Make,
  // which does not care what was there.
  Lsn expected_lsn = Lsn::kNone;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_ACCESS_OPTIONS_H_
