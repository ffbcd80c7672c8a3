#ifndef FIXPOOL_STORAGE_FRAME_INDEX_H_
#define FIXPOOL_STORAGE_FRAME_INDEX_H_

#include "fixpool/io/require_cpp20.h"

#include <cstdint>
#include <limits>

namespace fixpool::storage {

// A frame's place in its cache, from 0.
enum class FrameIndex : uint32_t {};
inline constexpr FrameIndex kNoFrame{std::numeric_limits<uint32_t>::max()};
constexpr uint32_t ToInt(FrameIndex frame) { return static_cast<uint32_t>(frame); }

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_FRAME_INDEX_H_
