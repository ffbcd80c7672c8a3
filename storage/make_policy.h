#ifndef FIXPOOL_STORAGE_MAKE_POLICY_H_
#define FIXPOOL_STORAGE_MAKE_POLICY_H_

#include <cstdint>
#include <memory>

#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/policy_kind.h"
#include "fixpool/storage/replacement_policy.h"

namespace fixpool::storage {

// A policy of that kind, for `frame_count` frames now, of numbers up to `max_frames`, and up to
// `most_frames` later (ReplacementPolicy::MakeRoom); 0: max_frames.
std::unique_ptr<ReplacementPolicy> MakePolicy(PolicyKind kind, uint32_t frame_count,
                                              uint32_t max_frames, uint32_t most_frames = 0);

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_MAKE_POLICY_H_
