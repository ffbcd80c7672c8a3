#include "fixpool/storage/cache_resize.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "fixpool/io/mutex.h"
#include "fixpool/storage/arena_frames.h"
#include "fixpool/storage/ensure_log.h"
#include "fixpool/storage/leaving_frames.h"

namespace fixpool::storage {
namespace {

// `status` of the arena in the words of who asked for it.
absl::Status OfResize(const absl::Status& status) {
  absl::Status named(status.code(), absl::StrCat("PageCache::Resize: ", status.message()));
  status.ForEachPayload([&named](absl::string_view url, const absl::Cord& payload) {
    named.SetPayload(url, payload);
  });
  return named;
}

absl::Status MakeRoom(CacheState& state, uint32_t frames) {
  io::MutexLock lock(state.mutex);
  if (frames <= state.policy->max_frames()) return absl::OkStatus();
  if (absl::Status status = state.frames.MakeRoom(frames); !status.ok()) return status;
  if (absl::Status status = state.lsns.MakeRoom(frames); !status.ok()) return status;
  return state.policy->MakeRoom(frames);
}

// Makes frames of all pages that the arena has to give. ResourceExhausted: the tables are full;
// nothing has changed.
absl::Status AddFrames(CacheState& state) {
  const ArenaFrames taken = ArenaFrames::Take(*state.arena, state.arena->page_count());
  if (absl::Status status = state.addresses.Add(taken.pages); !status.ok()) {
    taken.GiveBack(*state.arena);
    return OfResize(status);
  }
  state.address_bytes.store(state.addresses.size_bytes());
  if (absl::Status status = MakeRoom(state, state.addresses.size()); !status.ok()) {
    taken.GiveBack(*state.arena);
    return OfResize(status);
  }
  const std::vector<FrameTable::Place> places = taken.PlacesIn(state.addresses);
  // A few at a time, so that nobody has to wait for the lock.
  constexpr size_t kAtATime = 4096;
  for (absl::Span<const FrameTable::Place> left = places; !left.empty();) {
    const size_t count = std::min(left.size(), kAtATime);
    io::MutexLock lock(state.mutex);
    state.frames.Add(left.first(count));
    left.remove_prefix(count);
    if (!left.empty()) continue;
    state.FrameCountChanged();
  }
  return absl::OkStatus();
}

absl::Status Grow(CacheState& state, size_t frames) {
  const size_t region_frames = state.arena->region_bytes() / state.page_bytes;
  const size_t wanted = (frames + region_frames - 1) / region_frames * region_frames;
  const size_t most = std::min<size_t>(state.max_frames, state.addresses.max_size());
  if (wanted > most - std::min<size_t>(most, state.frame_count.load())) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "PageCache::Resize: the tables were made for at most ", most, " frames, of which ", wanted,
        " more than ", state.frame_count.load(), " are wanted; see Options::max_memory_bytes"));
  }
  const size_t bytes = wanted * state.page_bytes;
  if (absl::Status status = state.arena->Grow(bytes); !status.ok()) return OfResize(status);
  absl::Status status = AddFrames(state);
  // With a bound: the arena may think of other regions, which it would wait for.
  if (!status.ok()) {
    (void)state.arena->Shrink(bytes, state.environment->DeadlineAfter(absl::Seconds(1)));
  }
  return status;
}

// Gives back the memory of tables for frames that are the last, and are no more.
void TrimTables(CacheState& state) {
  constexpr uint32_t kAtATime = 1 << 16;
  for (bool more = true; more;) {
    io::MutexLock lock(state.mutex);
    more = state.frames.Trim(kAtATime);
    state.policy->DiscardFrom(state.frames.size());
    state.lsns.DiscardFrom(state.frames.size());
  }
}

absl::Status Shrink(CacheState& state, size_t frames, io::Deadline deadline) {
  LeavingFrames leaving(&state);
  // Less than a region too much.
  if (leaving.region_count() < 2 || frames < leaving.fewest_frames()) return absl::OkStatus();
  state.arena->AddOwner(&leaving);
  const absl::StatusOr<size_t> given_bytes =
      state.arena->Shrink(frames * state.page_bytes, deadline);
  state.arena->RemoveOwner(&leaving);
  leaving.LetStay();
  // What was given to the arena of regions that stay after all.
  absl::Status status = AddFrames(state);
  TrimTables(state);
  if (absl::IsDeadlineExceeded(given_bytes.status())) {
    return absl::DeadlineExceededError(absl::StrCat(
        "PageCache::Resize: pages in memory that was to go were held by guards, waited for, in ",
        "flight, or could not be written until the deadline; all memory is in service again: ",
        given_bytes.status().message()));
  }
  if (!given_bytes.ok()) return OfResize(given_bytes.status());
  return status;
}

}  // namespace

absl::Status ResizeCache(CacheState& state, size_t memory_bytes, io::Deadline deadline) {
  if (memory_bytes == 0) {
    return absl::InvalidArgumentError("PageCache::Resize: memory_bytes is 0");
  }
  if (absl::Status status = CheckNotInHook("PageCache::Resize"); !status.ok()) return status;
  const size_t present = state.frame_count.load();
  if (state.arena->page_count() != present) {
    return absl::FailedPreconditionError(absl::StrCat(
        "PageCache::Resize: the cache has ", present, " of the ", state.arena->page_count(),
        " pages of an arena that is the caller's, and changes only those that it has all of"));
  }
  const size_t wanted = memory_bytes / state.page_bytes + (memory_bytes % state.page_bytes != 0);
  if (wanted > present) return Grow(state, wanted - present);
  if (wanted < present) return Shrink(state, present - wanted, deadline);
  return absl::OkStatus();
}

}  // namespace fixpool::storage
