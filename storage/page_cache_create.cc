// How a PageCache is made: PageCache::Create and what it needs.

#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "fixpool/arena/huge_page_settings.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/open_engine.h"
#include "fixpool/storage/arena_frames.h"
#include "fixpool/storage/make_policy.h"
#include "fixpool/storage/page_cache.h"
#include "fixpool/storage/page_cache_rep.h"
#include "fixpool/storage/zeroed_memory.h"

namespace fixpool::storage {
namespace {

// How many times as large a cache can become as it was made, unless it is told. Enough for a
// machine that is rented by the hour. The address space that it takes is twice the memory; where
// there is not as much, less has to do.
constexpr size_t kMostGrowth = 64;
constexpr size_t kFewestMaxFrames = size_t{1} << 18;

// Small enough for Resize to come close to what it is told, and for one that must wait to be about
// little; large enough for few slots of the registry, and for huge pages.
size_t DefaultRegionBytes(const PageCache::Options& options) {
  constexpr size_t kHugeBytes = size_t{2} << 20;
  constexpr size_t kGiB = size_t{1} << 30;
  const arena::Ladder& ladder = options.ladder;
  if (ladder.one_gib == arena::RungPolicy::kRequire) return kGiB;
  if (ladder.one_gib == arena::RungPolicy::kPrefer && options.memory_bytes >= kGiB) {
    const std::optional<arena::HugePagePool> pool = arena::ReadHugePagePool(kGiB);
    if (pool.has_value() && pool->available() >= options.memory_bytes / kGiB) return kGiB;
  }
  const size_t wanted = options.memory_bytes / 16 / kHugeBytes * kHugeBytes;
  return std::clamp(wanted, kHugeBytes, kGiB);
}

// Of the registry: for all regions that there can be.
uint32_t SlotsFor(const PageCache::Options& options, size_t region_bytes) {
  constexpr size_t kFewest = 1024;
  const bool has_a_most = options.memory_bytes < std::numeric_limits<size_t>::max() / kMostGrowth;
  const size_t most_bytes =
      options.max_memory_bytes.value_or(has_a_most ? std::max(options.memory_bytes * kMostGrowth,
                                                              kFewestMaxFrames * options.page_bytes)
                                                   : options.memory_bytes);
  const size_t most = most_bytes / std::max<size_t>(region_bytes, 1);
  return static_cast<uint32_t>(
      std::clamp<size_t>(most, kFewest, io::FixedBufferRegistry::kMaxRegions));
}

absl::StatusOr<OwnedParts> MakeParts(const PageCache::Options& options) {
  OwnedParts parts;
  const size_t region_bytes = options.region_bytes.value_or(DefaultRegionBytes(options));
  auto registry = io::FixedBufferRegistry::Create(
      {.capacity = SlotsFor(options, region_bytes), .environment = options.environment});
  if (!registry.ok()) return registry.status();
  parts.registry = *std::move(registry);
  io::EngineOptions engine_options = options.engine;
  if (options.require_fixed) {
    if (engine_options.require.value_or(io::EngineLevel::kUringFixed) !=
        io::EngineLevel::kUringFixed) {
      return absl::InvalidArgumentError(
          absl::StrCat("PageCache::Create: require_fixed and engine.require = ",
                       io::EngineLevelName(*engine_options.require), " exclude each other"));
    }
    engine_options.require = io::EngineLevel::kUringFixed;
  }
  // The engine comes first, so that a region that it cannot take is refused with its size.
  auto engine = io::OpenEngine(parts.registry.get(), engine_options);
  if (!engine.ok()) return engine.status();
  parts.engine = *std::move(engine);
  using FixedPolicy = io::FixedBufferRegistry::FixedPolicy;
  auto arena = arena::PageArena::Create(
      parts.registry.get(),
      {.size_bytes = options.memory_bytes,
       .page_bytes = options.page_bytes,
       .ladder = options.ladder,
       .fixed = options.require_fixed ? FixedPolicy::kRequire : FixedPolicy::kPrefer,
       .region_bytes = region_bytes});
  if (!arena.ok()) return arena.status();
  parts.arena = *std::move(arena);
  return parts;
}

// Whether there is address space for the policy's tables of so many frames and for those of LSNs,
// and memory for the first, before these, which insist on having it, are made.
absl::Status CheckAddressSpace(uint32_t frames, uint32_t most_frames) {
  constexpr size_t kTableBytes = 36;
  absl::StatusOr<ZeroedMemory> tables = ZeroedMemory::ReserveAddresses(most_frames * kTableBytes);
  if (!tables.ok()) return tables.status();
  return tables->MakeAccessible(frames * kTableBytes);
}

absl::StatusOr<FrameAddresses> MakeAddresses(const ArenaFrames& taken,
                                             const arena::PageArena& arena, size_t max_frames) {
  // Numbers of which some are holes: few at first, up to a fifth where regions come to lie later.
  const size_t frames = std::min<size_t>(max_frames, PageWord::kMaxFrames);
  const size_t numbers =
      std::min<size_t>(frames + frames / 3 + FrameAddresses::kLargestBlock, PageWord::kMaxFrames);
  absl::StatusOr<FrameAddresses> addresses = FrameAddresses::Create(
      taken.pages, {.page_bytes = static_cast<uint32_t>(arena.page_bytes()),
                    .max_frames = static_cast<uint32_t>(numbers),
                    .max_block_bytes = std::max(size_t{2} << 20, arena.region_bytes() / 4)});
  if (!addresses.ok()) return addresses;
  if (absl::Status status = CheckAddressSpace(addresses->size(), addresses->max_size());
      !status.ok())
    return status;
  return addresses;
}

absl::StatusOr<CacheState::Frames> MakeTables(const ArenaFrames& taken,
                                              const arena::PageArena& arena, size_t max_frames) {
  absl::StatusOr<FrameAddresses> addresses = MakeAddresses(taken, arena, max_frames);
  if (!addresses.ok()) return addresses.status();
  absl::StatusOr<FrameTable::Memory> memory =
      FrameTable::Memory::Reserve(addresses->size(), addresses->max_size());
  if (!memory.ok()) return memory.status();
  std::vector<FrameTable::Place> places = taken.PlacesIn(*addresses);
  return CacheState::Frames{.addresses = *std::move(addresses),
                            .places = std::move(places),
                            .memory = *std::move(memory),
                            .max_frames = max_frames};
}

// For as many frames as nobody has said how many, and for fewer where there are not the addresses.
absl::StatusOr<CacheState::Frames> MakeLargestTables(const ArenaFrames& taken,
                                                     const arena::PageArena& arena) {
  const size_t present = taken.handles.size();
  size_t most = std::max(present * kMostGrowth, kFewestMaxFrames);
  while (true) {
    absl::StatusOr<CacheState::Frames> frames = MakeTables(taken, arena, most);
    if (!absl::IsResourceExhausted(frames.status()) || most == present) return frames;
    most = std::max(present, most / 4);
  }
}

// `count` pages of the arena, or all that are free if it is 0, with tables for up to `max_frames`;
// none on an error.
absl::StatusOr<CacheState::Frames> TakeFrames(arena::PageArena& arena, size_t count,
                                              std::optional<size_t> max_frames) {
  const size_t wanted = count == 0 ? arena.free_count() : count;
  const ArenaFrames taken = ArenaFrames::Take(arena, wanted);
  if (taken.handles.size() != wanted || wanted == 0 || wanted > PageWord::kMaxFrames / 64 * 63) {
    taken.GiveBack(arena);
    return absl::ResourceExhaustedError(
        absl::StrCat("PageCache::Create: ", wanted, " frames wanted, at least 1 and at most ",
                     PageWord::kMaxFrames / 64 * 63, " possible, and the arena had ",
                     taken.handles.size(), " of its ", arena.page_count(), " pages free"));
  }
  absl::StatusOr<CacheState::Frames> frames =
      max_frames.has_value() ? MakeTables(taken, arena, std::max(wanted, *max_frames))
                             : MakeLargestTables(taken, arena);
  if (!frames.ok()) taken.GiveBack(arena);
  return frames;
}

uint32_t ReadAheadPages(size_t bytes, const arena::PageArena& arena) {
  return static_cast<uint32_t>(std::min<size_t>(bytes / arena.page_bytes(), PageWord::kMaxFrames));
}

}  // namespace

PageCache::Rep::Rep(OwnedParts parts, arena::PageArena* arena, io::IoEngine* engine,
                    CacheState::Frames frames, const PartsOptions& options)
    : owned(std::move(parts)),
      ends(state),
      policy_shape{.frame_count = static_cast<uint32_t>(frames.places.size()),
                   .max_frames = frames.addresses.size(),
                   .most_frames = frames.addresses.max_size()},
      state(arena, engine, arena->registry()->environment(), &ends, std::move(frames),
            CacheState::Timeouts{.access = options.default_timeout,
                                 .flush = options.default_flush_timeout,
                                 .drain = options.drain_timeout},
            ReadAheadPages(options.read_ahead_bytes, *arena),
            MakePolicy(options.policy, policy_shape.frame_count, policy_shape.max_frames,
                       policy_shape.most_frames),
            CacheState::BackgroundNeeds{.free_frames = options.free_frames,
                                        .dirty_share = options.dirty_share,
                                        .by_caller = !options.background_thread},
            options.log),
      hit_path(&state, state.words, state.addresses, state.policy.get(), &state.hits),
      background_thread(options.background_thread) {}

absl::Status PageCache::Rep::StartKeeper() {
  {
    io::MutexLock lock(state.mutex);
    if (keeper != nullptr || !background_thread || state.low_water == 0) return absl::OkStatus();
  }
  absl::StatusOr<std::unique_ptr<KeeperThread>> started = KeeperThread::Start(&state);
  if (!started.ok()) return started.status();
  keeper = *std::move(started);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<PageCache>> PageCache::Rep::MakeCache(
    OwnedParts parts, arena::PageArena* arena, io::IoEngine* engine, const PartsOptions& options,
    std::optional<size_t> max_frames) {
  absl::StatusOr<CacheState::Frames> frames = TakeFrames(*arena, options.frame_count, max_frames);
  if (!frames.ok()) return frames.status();
  // From here on its destructor gives the frames back.
  std::unique_ptr<PageCache> cache(new PageCache(
      std::make_unique<Rep>(std::move(parts), arena, engine, *std::move(frames), options)));
  const absl::Status status = cache->rep_->StartKeeper();
  if (!status.ok()) return status;
  return cache;
}

absl::StatusOr<std::unique_ptr<PageCache>> PageCache::Create(Options options) {
  if (options.environment == nullptr) options.environment = io::Environment::Default();
  if (options.max_memory_bytes.value_or(options.memory_bytes) < options.memory_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("PageCache::Create: max_memory_bytes ", *options.max_memory_bytes,
                     " is less than memory_bytes ", options.memory_bytes));
  }
  absl::StatusOr<OwnedParts> parts = MakeParts(options);
  if (!parts.ok()) return parts.status();
  arena::PageArena* const arena = parts->arena.get();
  io::IoEngine* const engine = parts->engine.get();
  std::optional<size_t> max_frames;
  if (options.max_memory_bytes.has_value()) {
    max_frames = *options.max_memory_bytes / options.page_bytes;
  }
  return Rep::MakeCache(*std::move(parts), arena, engine,
                        {.policy = options.policy,
                         .free_frames = options.free_frames,
                         .dirty_share = options.dirty_share,
                         .log = options.log,
                         .read_ahead_bytes = options.read_ahead_bytes,
                         .default_timeout = options.default_timeout,
                         .default_flush_timeout = options.default_flush_timeout,
                         .drain_timeout = options.drain_timeout},
                        max_frames);
}

absl::StatusOr<std::unique_ptr<PageCache>> PageCache::Create(arena::PageArena* arena,
                                                             io::IoEngine* engine,
                                                             PartsOptions options) {
  if (arena == nullptr || engine == nullptr) {
    return absl::InvalidArgumentError("PageCache::Create: the arena or the engine is null");
  }
  if (const io::ForkGuard& made = arena->registry()->fork_guard(); made.forked()) {
    return made.Refusal("PageCache::Create on an arena from before the fork");
  }
  return Rep::MakeCache(OwnedParts(), arena, engine, options, std::nullopt);
}

}  // namespace fixpool::storage
