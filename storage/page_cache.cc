#include "fixpool/storage/page_cache.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "fixpool/io/check.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/fork_guard.h"
#include "fixpool/io/open_engine.h"
#include "fixpool/io/sanitizer.h"
#include "fixpool/storage/blocking_access.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/flusher.h"
#include "fixpool/storage/keeper_thread.h"
#include "fixpool/storage/make_policy.h"
#include "fixpool/storage/page_files.h"
#include "fixpool/storage/page_prefetch.h"
#include "fixpool/storage/page_transfers.h"
#include "fixpool/storage/try_access.h"

namespace fixpool::storage {
namespace {

// What a cache owns that makes its own parts. Destroyed from the last member to the first:
// the engine drains before the arena unregisters its memory.
struct OwnedParts {
  std::unique_ptr<io::FixedBufferRegistry> registry;
  std::unique_ptr<arena::PageArena> arena;
  std::unique_ptr<io::IoEngine> engine;
};

absl::StatusOr<OwnedParts> MakeParts(const PageCache::Options& options) {
  OwnedParts parts;
  auto registry = io::FixedBufferRegistry::Create({.environment = options.environment});
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
       .fixed = options.require_fixed ? FixedPolicy::kRequire : FixedPolicy::kPrefer});
  if (!arena.ok()) return arena.status();
  parts.arena = *std::move(arena);
  return parts;
}

// `count` pages of the arena, or all that are free if it is 0; none on an error.
absl::StatusOr<CacheState::Frames> TakeFrames(arena::PageArena& arena, size_t count) {
  const size_t wanted = count == 0 ? arena.free_count() : count;
  std::vector<arena::PageHandle> handles;
  std::vector<std::byte*> pages;
  while (handles.size() < wanted) {
    const std::optional<arena::PageHandle> handle = arena.TryAllocate();
    if (!handle.has_value()) break;
    handles.push_back(*handle);
    pages.push_back(arena.AddressOf(*handle));
  }
  const FrameAddresses addresses(pages, static_cast<uint32_t>(arena.page_bytes()));
  absl::Status error;
  if (handles.size() == wanted && wanted > 0 && addresses.size() <= PageWord::kMaxFrames) {
    absl::StatusOr<FrameTable::Memory> memory = FrameTable::Memory::Reserve(addresses.size());
    if (memory.ok()) {
      std::vector<FrameTable::Place> places;
      places.reserve(wanted);
      for (size_t i = 0; i < wanted; ++i) {
        places.push_back({.index = addresses.IndexOf(pages[i]), .handle = handles[i]});
      }
      return CacheState::Frames{
          .addresses = addresses, .places = std::move(places), .memory = *std::move(memory)};
    }
    error = memory.status();
  } else {
    error = absl::ResourceExhaustedError(
        absl::StrCat("PageCache::Create: ", wanted, " frames wanted, at least 1 and at most ",
                     PageWord::kMaxFrames / 64 * 63, " possible, and the arena had ",
                     handles.size(), " of its ", arena.page_count(), " pages free"));
  }
  for (const arena::PageHandle& handle : handles) (void)arena.Free(handle);
  return error;
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
  const uint32_t size = state.addresses.size();
  uint64_t pinned = 0;
  for (uint32_t first = 0; first < size; first += kAtATime) {
    io::MutexLock lock(state.mutex);
    for (uint32_t i = first; i < std::min(size, first + kAtATime); ++i) {
      if (state.frames.IsPinnedOrHeld(FrameIndex{i})) ++pinned;
    }
  }
  return pinned;
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
        frame_count(frames.places.size()),
        policy_size(frames.addresses.size()),
        state(arena, engine, arena->registry()->environment(), &ends, std::move(frames),
              CacheState::Timeouts{.access = options.default_timeout,
                                   .flush = options.default_flush_timeout,
                                   .drain = options.drain_timeout},
              ReadAheadPages(options.read_ahead_bytes, *arena),
              MakePolicy(options.policy, static_cast<uint32_t>(frame_count), policy_size)),
        hit_path(&state, state.words, state.addresses, state.policy.get(), &state.hits,
                 state.page_bytes) {}

  absl::Status StartKeeper(std::optional<uint32_t> free_frames) {
    const size_t low_water = std::min<size_t>(
        frame_count / 4, free_frames.value_or(std::min<size_t>(frame_count / 128, 256)));
    if (low_water == 0) return absl::OkStatus();
    absl::StatusOr<std::unique_ptr<KeeperThread>> started =
        KeeperThread::Start(&state, static_cast<uint32_t>(low_water));
    if (!started.ok()) return started.status();
    keeper = *std::move(started);
    return absl::OkStatus();
  }

  // What both Create end in.
  static absl::StatusOr<std::unique_ptr<PageCache>> MakeCache(OwnedParts parts,
                                                              arena::PageArena* arena,
                                                              io::IoEngine* engine,
                                                              const PartsOptions& options) {
    absl::StatusOr<CacheState::Frames> frames = TakeFrames(*arena, options.frame_count);
    if (!frames.ok()) return frames.status();
    // From here on its destructor gives the frames back.
    std::unique_ptr<PageCache> cache(new PageCache(
        std::make_unique<Rep>(std::move(parts), arena, engine, *std::move(frames), options)));
    const absl::Status status = cache->rep_->StartKeeper(options.free_frames);
    if (!status.ok()) return status;
    return cache;
  }

  OwnedParts owned;  // empty: they are the caller's
  TransferEnds ends;
  const size_t frame_count;
  const uint32_t policy_size;
  CacheState state;
  const HitPath hit_path;
  std::unique_ptr<KeeperThread> keeper;  // null: there is none
};

PageCache::PageCache(std::unique_ptr<Rep> rep) : rep_(std::move(rep)), hit_path_(rep_->hit_path) {}

bool PageCache::forked() const { return rep_->state.fork_guard.forked(); }

absl::Status PageCache::Refusal(absl::string_view operation) const {
  return rep_->state.fork_guard.Refusal(operation);
}

absl::StatusOr<std::unique_ptr<PageCache>> PageCache::Create(Options options) {
  if (options.environment == nullptr) options.environment = io::Environment::Default();
  absl::StatusOr<OwnedParts> parts = MakeParts(options);
  if (!parts.ok()) return parts.status();
  arena::PageArena* const arena = parts->arena.get();
  io::IoEngine* const engine = parts->engine.get();
  return Rep::MakeCache(*std::move(parts), arena, engine,
                        {.policy = options.policy,
                         .free_frames = options.free_frames,
                         .read_ahead_bytes = options.read_ahead_bytes,
                         .default_timeout = options.default_timeout,
                         .default_flush_timeout = options.default_flush_timeout,
                         .drain_timeout = options.drain_timeout});
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
  return Rep::MakeCache(OwnedParts(), arena, engine, options);
}

absl::StatusOr<FileId> PageCache::OpenFile(const std::string& path, FileOptions options) {
  if (forked()) return Refusal("PageCache::OpenFile");
  return OpenPageFile(rep_->state, path, options);
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
  if (pages.size() > guards.size() || pages.size() > rep_->frame_count) {
    const absl::Status refusal = absl::InvalidArgumentError(
        absl::StrCat("PageCache::ReadMany of ", pages.size(), " pages: there are ", guards.size(),
                     " guards and ", rep_->frame_count, " frames"));
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
  const io::Deadline deadline = state.DeadlineAfter(timeout, state.timeouts.flush);
  std::vector<FileId> files;
  {
    io::MutexLock lock(state.mutex);
    for (const FileId id : state.files.Ids()) {
      const PageFile& file = state.files.at(id);
      // Whoever closes a file flushes it.
      if (!file.closing && !file.file->read_only()) files.push_back(id);
    }
  }
  absl::Status first;
  for (const FileId file : files) {
    absl::Status status = Flusher(state, file, deadline).Run();
    // Closed meanwhile, and flushed for that.
    if (!absl::IsNotFound(status)) first.Update(status);
  }
  return first;
}

absl::StatusOr<uint64_t> PageCache::PageCount(FileId file) const {
  if (forked()) return Refusal("PageCache::PageCount");
  io::MutexLock lock(rep_->state.mutex);
  const PageFile* const found = rep_->state.files.Find(file);
  if (found == nullptr) return UnknownFileStatus(file);
  return found->page_count;
}

uint32_t PageCache::page_bytes() const { return rep_->state.page_bytes; }

size_t PageCache::frame_count() const { return rep_->frame_count; }

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
  stats.metadata_bytes = state.frames.metadata_bytes() + state.addresses.size_bytes() +
                         state.policy->metadata_bytes() + arena_share_bytes + stats.word_bytes;
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
