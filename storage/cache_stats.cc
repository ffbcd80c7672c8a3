#include "fixpool/storage/cache_stats.h"

#include "absl/strings/str_cat.h"

namespace fixpool::storage {

std::string CacheStats::ToString() const {
  return absl::StrCat(
      hits, " hits, ", misses, " misses, ", made, " made, ", waits, " waits; ", reads, " reads (",
      prefetches, " wished for, ", read_ahead, " ahead for scans, ", read_ahead_wasted,
      " of these in vain; ", joined_reads, " joined), ", writes, " writes (", background_writes,
      " in the background; ", joined_writes, " joined; ", double_writes, " copied before), ",
      pages_recovered, " torn ones recovered, ", syncs, " syncs, ", log_calls,
      " calls of the log; errors: ", read_errors, " read, ", write_errors, " write, ", sync_errors,
      " sync, ", log_errors, " log, ", seal_errors, " seal, ", lost_writes, " lost writes; ",
      evictions, " evictions (", eviction_writes, " writes for them), ", moves, " moves, ", dropped,
      " dropped, ", unreserved, " without reserved space; frames: ", frame_count, " = ",
      free_frames, " free + ", clean_frames, " clean + ", dirty_frames, " dirty + ",
      in_flight_frames, " in flight; ", pinned_frames, " pinned, ", failing_frames,
      " cannot be written; tables: ", metadata_bytes, " bytes, ", word_bytes, " of them words");
}

}  // namespace fixpool::storage
