#ifndef FIXPOOL_STORAGE_PAGE_CACHE_REP_H_
#define FIXPOOL_STORAGE_PAGE_CACHE_REP_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/arena/page_arena.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/hit_path.h"
#include "fixpool/storage/keeper_thread.h"
#include "fixpool/storage/page_cache.h"
#include "fixpool/storage/page_transfers.h"

namespace fixpool::storage {

// What a cache owns that makes its own parts. Destroyed from the last member to the first:
// the engine drains before the arena unregisters its memory.
struct OwnedParts {
  std::unique_ptr<io::FixedBufferRegistry> registry;
  std::unique_ptr<arena::PageArena> arena;
  std::unique_ptr<io::IoEngine> engine;
};

// What a PageCache is, in the order in which it is made. How it is made: page_cache_create.cc.
struct PageCache::Rep {
  // With nobody to keep frames free yet.
  Rep(OwnedParts parts, arena::PageArena* arena, io::IoEngine* engine, CacheState::Frames frames,
      const PartsOptions& options);

  // If there is to be one and is none.
  absl::Status StartKeeper();
  // What both Create end in.
  static absl::StatusOr<std::unique_ptr<PageCache>> MakeCache(OwnedParts parts,
                                                              arena::PageArena* arena,
                                                              io::IoEngine* engine,
                                                              const PartsOptions& options,
                                                              std::optional<size_t> max_frames);

  OwnedParts owned;  // empty: they are the caller's
  TransferEnds ends;
  struct {
    uint32_t frame_count;
    uint32_t max_frames;
    uint32_t most_frames;
  } const policy_shape;
  CacheState state;
  const HitPath hit_path;
  const bool background_thread;
  std::unique_ptr<KeeperThread> keeper;  // null: there is none
  std::atomic<bool> resizing{false};
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_PAGE_CACHE_REP_H_
