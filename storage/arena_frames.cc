#include "fixpool/storage/arena_frames.h"

#include <optional>

namespace fixpool::storage {

ArenaFrames ArenaFrames::Take(arena::PageArena& arena, size_t most) {
  ArenaFrames taken;
  while (taken.handles.size() < most) {
    const std::optional<arena::PageHandle> handle = arena.TryAllocate();
    if (!handle.has_value()) break;
    taken.handles.push_back(*handle);
    taken.pages.push_back(arena.AddressOf(*handle));
  }
  return taken;
}

void ArenaFrames::GiveBack(arena::PageArena& arena) const {
  for (const arena::PageHandle& handle : handles) (void)arena.Free(handle);
}

std::vector<FrameTable::Place> ArenaFrames::PlacesIn(const FrameAddresses& addresses) const {
  std::vector<FrameTable::Place> places;
  places.reserve(handles.size());
  for (size_t i = 0; i < handles.size(); ++i) {
    places.push_back({.index = addresses.IndexOf(pages[i]), .handle = handles[i]});
  }
  return places;
}

}  // namespace fixpool::storage
