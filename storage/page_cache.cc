#include "fixpool/storage/page_cache.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "fixpool/arena/huge_page_settings.h"
#include "fixpool/io/check.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/fork_guard.h"
#include "fixpool/io/open_engine.h"
#include "fixpool/io/sanitizer.h"
#include "fixpool/storage/arena_frames.h"
#include "fixpool/storage/blocking_access.h"
#include "fixpool/storage/cache_resize.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/checkpoint.h"
#include "fixpool/storage/file_space.h"
#include "fixpool/storage/flusher.h"
#include "fixpool/storage/keeper_thread.h"
#include "fixpool/storage/make_policy.h"
#include "fixpool/storage/page_files.h"
#include "fixpool/storage/page_prefetch.h"
#include "fixpool/storage/page_transfers.h"
#include "fixpool/storage/try_access.h"
#include "fixpool/storage/zeroed_memory.h"

namespace fixpool::storage {
namespace {

// What a cache owns that makes its own parts. Destroyed from the last member to the first:
// the engine drains before the arena unregisters its memory.
struct OwnedParts {
  std::unique_ptr<io::FixedBufferRegistry> registry;
  std::unique_ptr<arena::PageArena> arena;
  std::unique_ptr<io::IoEngine> engine;
};

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

void CheckThatNobodyHoldsAPage(CacheState& state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  FIXPOOL_CHECK(state.waiters.size() == 0,
                absl::StrCat("a PageCache died while ", state.waiters.size(),
                             " tasks waited for its pages; destroy their scheduler first"));
  for (uint32_t i = 0; i < state.frames.size(); ++i) {
    if (!state.frames.IsPinnedOrHeld(FrameIndex{i})) continue;
    const FrameTable::Capture capture(state.frames, FrameIndex{i});
    FIXPOOL_CHECK(!capture.busy().pinned(),
                  absl::StrCat("a PageCache died while a guard of ",
                               state.NameOf(state.PageIn(FrameIndex{i})), " was alive (",
                               state.frames.counts().pinned, " pages are held or waited for)"));
  }
}

// False: transfers are still in flight.
bool Drain(CacheState& state) {
  const io::Deadline deadline = state.environment->DeadlineAfter(state.timeouts.drain);
  while (true) {
    uint32_t seen;
    {
      io::MutexLock lock(state.mutex);
      seen = state.reaper.epoch();
      if (state.transfers == 0) return true;
    }
    if (state.environment->Expired(deadline)) return false;
    SubmitCollected(state);
    state.reaper.WaitFor(seen, CompletionReaper::Wanted::kCompletion, deadline);
  }
}

// Of the arena's tables those beside its pages that are frames.
uint64_t ArenaShareBytes(const CacheState& state, uint32_t frame_count) {
  return state.arena->metadata_bytes() * frame_count / state.arena->page_count();
}

// A few at a time, so that nobody has to wait for the lock: there may be millions.
uint64_t CountPinned(CacheState& state) {
  constexpr uint32_t kAtATime = 4096;
  uint64_t pinned = 0;
  for (uint32_t first = 0;; first += kAtATime) {
    io::MutexLock lock(state.mutex);
    const uint32_t size = state.frames.size();
    if (first >= size) return pinned;
    for (uint32_t i = first; i < std::min(size, first + kAtATime); ++i) {
      if (state.frames.IsPinnedOrHeld(FrameIndex{i})) ++pinned;
    }
  }
}

// What is lost with the cache, for the sink.
std::vector<std::string> LastWords(const CacheState& state)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  std::vector<std::string> words;
  for (const FileId id : state.files.Ids()) {
    uint64_t dirty = 0;
    for (uint32_t i = 0; i < state.frames.size(); ++i) {
      const Frame& frame = state.frames[FrameIndex{i}];
      if (frame.dirty && frame.HoldsPageOf(id)) ++dirty;
    }
    if (dirty == 0) continue;
    words.push_back(absl::StrCat("a PageCache died with ", dirty, " changed pages of ",
                                 state.files.at(id).path(),
                                 " that were not written; call Flush or CloseFile before"));
  }
  return words;
}

uint32_t ReadAheadPages(size_t bytes, const arena::PageArena& arena) {
  return static_cast<uint32_t>(std::min<size_t>(bytes / arena.page_bytes(), PageWord::kMaxFrames));
}

}  // namespace

struct PageCache::Rep {
  // With nobody to keep frames free yet.
  Rep(OwnedParts parts, arena::PageArena* arena, io::IoEngine* engine, CacheState::Frames frames,
      const PartsOptions& options)
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
                                          .dirty_share = options.dirty_share},
              options.log),
        hit_path(&state, state.words, state.addresses, state.policy.get(), &state.hits,
                 state.page_bytes),
        background_thread(options.background_thread) {}

  // If there is to be one and is none.
  absl::Status StartKeeper() {
    {
      io::MutexLock lock(state.mutex);
      if (keeper != nullptr || !background_thread || state.low_water == 0) return absl::OkStatus();
    }
    absl::StatusOr<std::unique_ptr<KeeperThread>> started = KeeperThread::Start(&state);
    if (!started.ok()) return started.status();
    keeper = *std::move(started);
    return absl::OkStatus();
  }

  // What both Create end in.
  static absl::StatusOr<std::unique_ptr<PageCache>> MakeCache(OwnedParts parts,
                                                              arena::PageArena* arena,
                                                              io::IoEngine* engine,
                                                              const PartsOptions& options,
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

PageCache::PageCache(std::unique_ptr<Rep> rep) : rep_(std::move(rep)), hit_path_(rep_->hit_path) {}

bool PageCache::forked() const { return rep_->state.fork_guard.forked(); }

absl::Status PageCache::Refusal(absl::string_view operation) const {
  return rep_->state.fork_guard.Refusal(operation);
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

absl::StatusOr<FileId> PageCache::OpenFile(const std::string& path, FileOptions options) {
  if (forked()) return Refusal("PageCache::OpenFile");
  return OpenPageFile(rep_->state, path, options);
}

absl::StatusOr<FileId> PageCache::OpenFile(std::shared_ptr<io::File> file, FileOptions options) {
  if (forked()) return Refusal("PageCache::OpenFile");
  return OpenPageFile(rep_->state, std::move(file), options);
}

absl::Status PageCache::CloseFile(FileId file, CloseOptions options) {
  if (forked()) return Refusal("PageCache::CloseFile");
  return ClosePageFile(rep_->state, file, options);
}

absl::StatusOr<ReadGuard> PageCache::ReadSlowly(const PageId& page, const AccessOptions& options) {
  if (forked()) return Refusal("PageCache::Read");
  absl::StatusOr<PageHold> hold = AccessPage(rep_->state, page, Intent::kRead, options);
  if (!hold.ok()) return hold.status();
  return ReadGuard(*std::move(hold));
}

absl::StatusOr<OptimisticGuard> PageCache::ReadOptimisticSlowly(const PageId& page,
                                                                const AccessOptions& options) {
  if (forked()) return Refusal("PageCache::ReadOptimistic");
  const VersionEpoch& versions = rep_->state.words.epoch();
  const uint64_t epoch = versions.Now();
  const absl::StatusOr<PageHold> hold = AccessPage(rep_->state, page, Intent::kRead, options);
  if (!hold.ok()) return hold.status();
  return OptimisticGuard(hold->data(), hold->size_bytes(), page, hold->word(), Load(*hold->word()),
                         &versions, epoch);
}

absl::StatusOr<WriteGuard> PageCache::WriteSlowly(const PageId& page,
                                                  const AccessOptions& options) {
  if (forked()) return Refusal("PageCache::Write");
  absl::StatusOr<PageHold> hold = AccessPage(rep_->state, page, Intent::kWrite, options);
  if (!hold.ok()) return hold.status();
  return WriteGuard(*std::move(hold));
}

absl::StatusOr<WriteGuard> PageCache::Make(const PageId& page, const AccessOptions& options) {
  if (forked()) return Refusal("PageCache::Make");
  absl::StatusOr<PageHold> hold = AccessPage(rep_->state, page, Intent::kMake, options);
  if (!hold.ok()) return hold.status();
  return WriteGuard(*std::move(hold));
}

std::optional<ReadGuard> PageCache::TryReadSlowly(PageId page, Hint hint) {
  if (forked()) return std::nullopt;
  std::optional<PageHold> hold = TryAccessPage(rep_->state, page, PageLatch::Mode::kShared, hint);
  if (!hold.has_value()) return std::nullopt;
  return ReadGuard(*std::move(hold));
}

std::optional<WriteGuard> PageCache::TryWriteSlowly(PageId page, Hint hint) {
  if (forked()) return std::nullopt;
  std::optional<PageHold> hold =
      TryAccessPage(rep_->state, page, PageLatch::Mode::kExclusive, hint);
  if (!hold.has_value()) return std::nullopt;
  return WriteGuard(*std::move(hold));
}

size_t PageCache::ReadMany(absl::Span<const PageId> pages,
                           absl::Span<absl::StatusOr<ReadGuard>> guards,
                           const AccessOptions& options) {
  CacheState& state = rep_->state;
  if (pages.size() > guards.size() || pages.size() > frame_count()) {
    const absl::Status refusal = absl::InvalidArgumentError(
        absl::StrCat("PageCache::ReadMany of ", pages.size(), " pages: there are ", guards.size(),
                     " guards and ", frame_count(), " frames"));
    for (absl::StatusOr<ReadGuard>& guard : guards) guard = refusal;
    return 0;
  }
  hit_path_.PrefetchLines(pages);
  std::vector<PageId> missing;
  std::vector<size_t> places;
  for (size_t i = 0; i < pages.size(); ++i) {
    const HitPath::Latched hit = hit_path_.TryShared(pages[i], options.hint);
    if (ABSL_PREDICT_TRUE(hit.word != nullptr)) {
      guards[i] = hit_path_.GuardOf<ReadGuard>(hit, pages[i], PageLatch::Mode::kShared);
      continue;
    }
    missing.push_back(pages[i]);
    places.push_back(i);
  }
  size_t count = pages.size() - missing.size();
  if (missing.empty()) return count;
  const bool forked_child = forked();
  const io::Deadline deadline = state.DeadlineAfter(options.timeout, state.timeouts.access);
  // What cannot be started, for whatever reason, is found out below, page by page.
  if (!forked_child) (void)PrefetchPages(state, missing);
  for (size_t i = 0; i < missing.size(); ++i) {
    AccessOptions rest = options;
    if (i > 0 && !forked_child) {
      rest.timeout = deadline.is_infinite()
                         ? absl::InfiniteDuration()
                         : absl::Nanoseconds(deadline.ns() - state.environment->NowNs());
    }
    guards[places[i]] = ReadSlowly(missing[i], rest);
    if (guards[places[i]].ok()) ++count;
  }
  return count;
}

absl::StatusOr<size_t> PageCache::Prefetch(absl::Span<const PageId> pages) {
  if (forked()) return Refusal("PageCache::Prefetch");
  return PrefetchPages(rep_->state, pages);
}

absl::Status PageCache::Flush(FileId file, std::optional<absl::Duration> timeout) {
  if (forked()) return Refusal("PageCache::Flush");
  CacheState& state = rep_->state;
  return Flusher(state, file, state.DeadlineAfter(timeout, state.timeouts.flush)).Run();
}

absl::Status PageCache::FlushAll(std::optional<absl::Duration> timeout) {
  if (forked()) return Refusal("PageCache::FlushAll");
  CacheState& state = rep_->state;
  return FlushAllFiles(state, state.DeadlineAfter(timeout, state.timeouts.flush));
}

absl::StatusOr<PageNumber> PageCache::Allocate(FileId file, uint64_t pages, SpaceOptions options) {
  if (forked()) return Refusal("PageCache::Allocate");
  return AllocatePages(rep_->state, file, pages, options);
}

absl::Status PageCache::FreePages(FileId file, PageNumber first, uint64_t count,
                                  SpaceOptions options) {
  if (forked()) return Refusal("PageCache::FreePages");
  return FreeFilePages(rep_->state, file, first, count, options);
}

absl::Status PageCache::Truncate(FileId file, uint64_t page_count, SpaceOptions options) {
  if (forked()) return Refusal("PageCache::Truncate");
  return TruncateFile(rep_->state, file, page_count, options);
}

std::optional<Lsn> PageCache::OldestDirtyLsn() const {
  if (forked()) return std::nullopt;
  return storage::OldestDirtyLsn(rep_->state);
}

absl::Status PageCache::Checkpoint(Lsn up_to, std::optional<absl::Duration> timeout) {
  if (forked()) return Refusal("PageCache::Checkpoint");
  CacheState& state = rep_->state;
  return CheckpointAllFiles(state, up_to, state.DeadlineAfter(timeout, state.timeouts.flush));
}

absl::Status PageCache::Resize(size_t memory_bytes, std::optional<absl::Duration> timeout) {
  if (forked()) return Refusal("PageCache::Resize");
  CacheState& state = rep_->state;
  if (rep_->resizing.exchange(true)) {
    return absl::FailedPreconditionError("PageCache::Resize: another one is at work");
  }
  absl::Status status =
      ResizeCache(state, memory_bytes, state.DeadlineAfter(timeout, state.timeouts.flush));
  // The cache does without where there is no thread to be had; the size is what was asked for.
  if (const absl::Status keeper = rep_->StartKeeper(); !keeper.ok()) {
    state.environment->Report(io::Severity::kWarning, keeper.message());
  }
  rep_->resizing.store(false);
  return status;
}

absl::StatusOr<uint64_t> PageCache::PageCount(FileId file) const {
  if (forked()) return Refusal("PageCache::PageCount");
  io::MutexLock lock(rep_->state.mutex);
  const PageFile* const found = rep_->state.files.Find(file);
  if (found == nullptr) return UnknownFileStatus(file);
  return found->page_count;
}

uint32_t PageCache::page_bytes() const { return rep_->state.page_bytes; }

size_t PageCache::frame_count() const {
  return rep_->state.frame_count.load(std::memory_order_relaxed);
}

CacheStats PageCache::Stats() const {
  if (forked()) return {};
  CacheState& state = rep_->state;
  const uint64_t pinned = CountPinned(state);
  const uint64_t arena_share_bytes = ArenaShareBytes(state, frame_count());
  io::MutexLock lock(state.mutex);
  const FrameTable::Counts& counts = state.frames.counts();
  CacheStats stats = state.counters;
  stats.hits += state.hits.Sum();
  for (const FileId id : state.files.Ids()) {
    const FileScans* const scans = state.files.at(id).scans.get();
    if (scans != nullptr) stats.read_ahead_wasted += scans->detector().abandoned();
  }
  stats.frame_count = state.frames.frame_count();
  stats.free_frames = counts.free;
  stats.clean_frames = counts.clean;
  stats.dirty_frames = counts.dirty;
  stats.in_flight_frames = counts.in_flight;
  stats.pinned_frames = pinned;
  stats.failing_frames = counts.failing;
  stats.word_bytes = state.words.touched_bytes();
  stats.metadata_bytes = state.frames.metadata_bytes() + state.address_bytes.load() +
                         state.policy->metadata_bytes() + arena_share_bytes + stats.word_bytes +
                         state.lsns.metadata_bytes(state.frames.size());
  return stats;
}

std::string PageCache::Describe() const {
  if (forked()) return std::string(Refusal("PageCache::Describe").message());
  return absl::StrCat(rep_->state.engine->Report().ToString(), "\n",
                      rep_->state.arena->Report().ToString(), "\n", "cache: ", frame_count(),
                      " frames of ", page_bytes(), " bytes; ", Stats().ToString());
}

PageCache::~PageCache() {
  if (forked()) {
    io::sanitizer::LeakedOnPurpose(rep_.release());  // with the parts that it owns
    return;
  }
  CacheState& state = rep_->state;
  rep_->keeper.reset();
  {
    io::MutexLock lock(state.mutex);
    CheckThatNobodyHoldsAPage(state);
  }
  const bool drained = Drain(state);
  std::vector<std::string> words;
  std::vector<io::FileHandle> files;
  {
    io::MutexLock lock(state.mutex);
    words = LastWords(state);
    if (!drained) {
      words.push_back(absl::StrCat(
          "a PageCache died with ", state.transfers, " transfers in flight after ",
          absl::FormatDuration(state.timeouts.drain), "; their frames are never given back"));
    }
    for (const FileId id : state.files.Ids()) {
      if (state.files.at(id).in_flight == 0) files.push_back(state.files.at(id).handle);
    }
    for (uint32_t i = 0; i < state.frames.size(); ++i) {
      const FrameIndex index{i};
      if (state.frames[index].state == FrameState::kHole || state.frames.IsInFlight(index))
        continue;
      (void)state.arena->Free(state.frames.HandleOf(index));
    }
  }
  for (const io::FileHandle file : files) {
    (void)state.engine->RemoveFile(file, io::Deadline::Past());
  }
  for (const std::string& word : words) state.environment->Report(io::Severity::kWarning, word);
}

}  // namespace fixpool::storage
