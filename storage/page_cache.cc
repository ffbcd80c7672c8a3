#include "fixpool/storage/page_cache.h"

#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "fixpool/io/check.h"
#include "fixpool/io/fork_guard.h"
#include "fixpool/io/sanitizer.h"
#include "fixpool/storage/blocking_access.h"
#include "fixpool/storage/cache_resize.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/checkpoint.h"
#include "fixpool/storage/double_write_area.h"
#include "fixpool/storage/file_space.h"
#include "fixpool/storage/flusher.h"
#include "fixpool/storage/keeper_thread.h"
#include "fixpool/storage/page_cache_rep.h"
#include "fixpool/storage/page_files.h"
#include "fixpool/storage/page_prefetch.h"
#include "fixpool/storage/page_transfers.h"
#include "fixpool/storage/try_access.h"

namespace fixpool::storage {
namespace {

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

// Deadline::Past() is no number to reckon with.
absl::Duration TimeUntil(io::Deadline deadline, io::Environment& environment) {
  if (deadline.is_infinite()) return absl::InfiniteDuration();
  if (environment.Expired(deadline)) return absl::ZeroDuration();
  return absl::Nanoseconds(deadline.ns() - environment.NowNs());
}

}  // namespace

PageCache::PageCache(std::unique_ptr<Rep> rep) : rep_(std::move(rep)), hit_path_(rep_->hit_path) {}

bool PageCache::forked() const { return rep_->state.fork_guard.forked(); }

absl::Status PageCache::Refusal(absl::string_view operation) const {
  return rep_->state.fork_guard.Refusal(operation);
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
  const bool any_will_do = options.expected_lsn == Lsn::kNone;
  for (size_t i = 0; i < pages.size(); ++i) {
    const HitPath::Latched hit =
        any_will_do ? hit_path_.TryShared(pages[i], options.hint) : HitPath::Latched();
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
    if (i > 0 && !forked_child) rest.timeout = TimeUntil(deadline, *state.environment);
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

absl::StatusOr<TornPageProtection> PageCache::ProtectionOf(FileId file) const {
  if (forked()) return Refusal("PageCache::ProtectionOf");
  io::MutexLock lock(rep_->state.mutex);
  const PageFile* const found = rep_->state.files.Find(file);
  if (found == nullptr) return UnknownFileStatus(file);
  return found->protection;
}

absl::StatusOr<uint32_t> PageCache::PayloadBytes(FileId file) const {
  if (forked()) return Refusal("PageCache::PayloadBytes");
  io::MutexLock lock(rep_->state.mutex);
  const PageFile* const found = rep_->state.files.Find(file);
  if (found == nullptr) return UnknownFileStatus(file);
  return found->payload_bytes;
}

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
  std::string text = absl::StrCat(
      rep_->state.engine->Report().ToString(), "\n", rep_->state.arena->Report().ToString(), "\n",
      "cache: ", frame_count(), " frames of ", page_bytes(), " bytes; ", Stats().ToString());
  io::MutexLock lock(rep_->state.mutex);
  for (const FileId id : rep_->state.files.Ids()) {
    const PageFile& file = rep_->state.files.at(id);
    if (file.protection == TornPageProtection::kNone) continue;
    absl::StrAppend(&text, "\n", file.path(), ": against torn pages, ",
                    TornPageProtectionName(file.protection));
    if (file.area != nullptr) absl::StrAppend(&text, " in ", file.area->file->path());
  }
  return text;
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
      state.blocking.LeakMemory();
      words.push_back(absl::StrCat(
          "a PageCache died with ", state.transfers, " transfers in flight after ",
          absl::FormatDuration(state.timeouts.drain), "; their frames are never given back"));
    }
    for (const FileId id : state.files.Ids()) {
      const PageFile& file = state.files.at(id);
      if (file.in_flight > 0) continue;
      files.push_back(file.handle);
      if (file.area != nullptr) files.push_back(file.area->handle);
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
