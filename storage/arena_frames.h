#ifndef FIXPOOL_STORAGE_ARENA_FRAMES_H_
#define FIXPOOL_STORAGE_ARENA_FRAMES_H_

#include <cstddef>
#include <vector>

#include "fixpool/arena/page_arena.h"
#include "fixpool/arena/page_handle.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/frame_addresses.h"
#include "fixpool/storage/frame_table.h"

namespace fixpool::storage {

// Pages of an arena that are to become frames of a cache.
//
//   ArenaFrames taken = ArenaFrames::Take(*arena, arena->free_count());
//   addresses.Add(taken.pages);
//   frames.Add(taken.PlacesIn(addresses));
//
// A value; owns nothing: who does not make frames of the pages gives them back.
struct ArenaFrames {
  std::vector<arena::PageHandle> handles;
  std::vector<std::byte*> pages;  // where they are

  // Up to `most` pages, in the order in which the arena gives them.
  static ArenaFrames Take(arena::PageArena& arena, size_t most);
  void GiveBack(arena::PageArena& arena) const;
  // `addresses` knows the pages.
  std::vector<FrameTable::Place> PlacesIn(const FrameAddresses& addresses) const;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_ARENA_FRAMES_H_
