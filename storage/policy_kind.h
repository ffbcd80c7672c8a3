#ifndef FIXPOOL_STORAGE_POLICY_KIND_H_
#define FIXPOOL_STORAGE_POLICY_KIND_H_

#include <cstdint>

#include "fixpool/io/require_cpp20.h"

namespace fixpool::storage {

// Which page leaves when a frame is wanted. A value; thread-compatible.
enum class PolicyKind : uint8_t {
  kS3Fifo,  // S3-FIFO with a correlation window: hits without a lock, indifferent to scans
  kClock,   // CLOCK, one chance: hits without a lock, the least memory
  kLru,     // least recently used: each hit takes a lock; for comparison
};

// "s3w", "clock", "lru".
constexpr const char* PolicyKindName(PolicyKind kind) {
  switch (kind) {
    case PolicyKind::kS3Fifo:
      return "s3w";
    case PolicyKind::kClock:
      return "clock";
    case PolicyKind::kLru:
      return "lru";
  }
  return "unknown";
}

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_POLICY_KIND_H_
