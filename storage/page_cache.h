#ifndef FIXPOOL_STORAGE_PAGE_CACHE_H_
#define FIXPOOL_STORAGE_PAGE_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/base/optimization.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "absl/utility/utility.h"
#include "fixpool/arena/ladder.h"
#include "fixpool/arena/page_arena.h"
#include "fixpool/io/check.h"
#include "fixpool/io/engine_options.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/file.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/access_options.h"
#include "fixpool/storage/cache_stats.h"
#include "fixpool/storage/file_options.h"
#include "fixpool/storage/hit_path.h"
#include "fixpool/storage/lsn.h"
#include "fixpool/storage/optimistic_guard.h"
#include "fixpool/storage/page_access.h"
#include "fixpool/storage/page_awaiter.h"
#include "fixpool/storage/page_guard.h"
#include "fixpool/storage/page_hint.h"
#include "fixpool/storage/page_id.h"
#include "fixpool/storage/page_latch.h"
#include "fixpool/storage/policy_kind.h"
#include "fixpool/storage/torn_pages.h"
#include "fixpool/storage/write_ahead_log.h"

namespace fixpool::storage {

// Pages of files, kept in memory as long as there is room.
//
//   auto cache = PageCache::Create({.memory_bytes = size_t{1} << 30});
//   auto file = (*cache)->OpenFile("data.db", {.create = true});
//   { auto page = (*cache)->Write({*file, 42});
//     std::ranges::copy(greeting, page->mutable_bytes().begin()); }
//   (*cache)->Flush(*file);                      // on stable storage, or an error
//   auto page = (*cache)->Read({*file, 42});     // page->bytes()
//
// Shape: memory for frame_count() pages of page_bytes() bytes each; a page number is the
// page's place in its file. A page is in memory once, whoever asks for it. Where a file is sealed
// (FileOptions::seal), guards show PayloadBytes() of each page and the seal has the rest.
// The end of a file: its pages are those that were there when it was opened, plus those that
// were made since, or as Allocate and Truncate say. What a page holds that was never on disk (the
// rest of a last page that the file ends in, a hole, a new page) is zeros; nobody ever sees, and no
// disk ever gets, what a frame held before.
//
// Durability: Flush says when. Until then a changed page reaches the disk at some time or
// never; it is written when its frame is wanted for another. The destructor writes nothing:
// what was not flushed is lost, and the environment's sink is told how much.
// A write that fails leaves the page dirty and in memory, to be tried again. A sync that fails
// leaves the file unusable for writing: see Flush.
//
// A page that is in memory, and that nobody is in the way of, is found and latched without a
// lock: see docs/page_cache.md. Who reads pages of a file one after the other is noticed, and finds
// them in memory: see docs/read_ahead.md.
// Waiting: for the disk, a latch, or a frame, at most as long as the options say; then
// DeadlineExceeded, or ResourceExhausted where it was a frame. While there is a clean page
// that nobody holds, nobody waits for a write.
//
// Ownership: guards and the cache: see ReadGuard. Files are closed with the cache. With parts
// of the caller's (arena, engine), these must outlive the cache, which takes frames from the
// arena and is the only user of the engine until it dies.
// The destructor waits for transfers in flight, with a bound. Past it, their frames are never
// given back to the arena, and the sink is told.
// Threads: thread-safe, but for destruction. Reading, evicting and reaping are done by those who
// ask; a thread of the cache's own does nothing but keep some frames free (Options::free_frames).
// Resize makes it larger or smaller while it is in use: see docs/resizing.md.
// Nothing allocates on a hit, a miss or an eviction, but for the words of pages of a stretch of a
// file that is used for the first time (8 bytes each, see docs/page_cache.md), and what ReadMany
// notes of pages that are missing.
// In a forked child whatever returns a Status answers FailedPrecondition, and the pages of
// guards are not there. Guards may be dropped; the destructor leaves everything as it is.
//
// Errors that any access may return:
//   NotFound            no such file: closed, never opened, or of another cache
//   OutOfRange          Read: the page lies past the end of the file. Write, Make: no file (or
//                       not this device) can be that large
//   FailedPrecondition  this thread has the only guards of the page and would wait for itself (as
//                       far as its first 64 guards tell); the file is being closed; Write, Make:
//                       it was opened read-only
//   DeadlineExceeded    the disk, or another thread's guard, took too long
//   ResourceExhausted   no frame: all are pinned, or dirty and cannot be written; or no memory for
//                       words of pages
//   Unavailable and others by errno: the read failed, for this caller and all who waited for
//                       the same page; the next one reads anew
//   DataLoss            the page was read, and is not what its seal says was written there: for
//                       this caller and all who waited for the same page, as above. Or it is older
//                       than AccessOptions::expected_lsn: for this caller alone
//   InvalidArgument     AccessOptions::expected_lsn of a file that has no seal
//   that of the failed sync: Write, Make, and Read of a page not in memory: see Flush
//   as ValidationError  a frame's handle is not valid any more; nothing was read or written
class PageCache {
 public:
  static constexpr size_t kDefaultReadAheadBytes = size_t{8} << 20;
  static constexpr double kDefaultDirtyShare = 0.25;

  struct Options {
    // Memory for pages, in all; the tables take less than 40 bytes a page beside it, 16 more
    // where LSNs are used, and the words of pages 8 bytes each (CacheStats::metadata_bytes).
    // Default: enough to be of use, little enough to be had.
    size_t memory_bytes = size_t{256} << 20;
    // How far Resize can go, for which tables are reserved: address space, not memory, of about
    // 150 bytes a page. Default: 64 times memory_bytes, at least 2^18 pages; or
    // less where there are not the addresses (RLIMIT_AS).
    std::optional<size_t> max_memory_bytes = std::nullopt;
    // The memory comes in regions of as many bytes, at most 1 GiB: what Resize adds and gives back
    // at a time. A ring takes 16384 of them. Default: a 16th of memory_bytes in whole 2
    // MiB, so that sizes can be told from each other and slots for growing are left; or 1 GiB where
    // all of the memory can stand on pages of 1 GiB.
    std::optional<size_t> region_bytes = std::nullopt;
    // Bytes of a page: a power of two from 4 KiB to 1 MiB. Default: what most engines use.
    uint32_t page_bytes = 4096;
    // The kernel's pages behind the memory. Default: the largest that can be had.
    arena::Ladder ladder = {};
    // How transfers reach the kernel. Default: the best that works here; Describe() tells.
    io::EngineOptions engine = {};
    // Registered buffers for all of the memory, or an error: instead of falling back where
    // io_uring or RLIMIT_MEMLOCK does not allow them.
    bool require_fixed = false;
    // Which page leaves when a frame is wanted. Default: the one with the fewest misses on the
    // traces of docs/replacement.md.
    PolicyKind policy = PolicyKind::kS3Fifo;
    // Frames that a thread of the cache's own keeps free, so that a miss finds one: when fewer are
    // free, pages leave (dirty ones are written before) until there are twice as many. 0: no such
    // thread, and nothing is written in the background; misses do it themselves. At most a quarter
    // of all frames. Default: 1/128 of them, 256 at most.
    std::optional<uint32_t> free_frames = std::nullopt;
    // The share of the frames that may be dirty before that thread begins to write pages in the
    // background, 0 to 1; with twice as many it is as fast as it can be. More saves writes of
    // pages that are changed often, and makes Flush, checkpoints and recovery longer. Default: what
    // leaves three quarters of the memory to misses that wait for nothing.
    double dirty_share = kDefaultDirtyShare;
    // The caller's write-ahead log: no page is written before the log is durable up to its LSN.
    // Null: there is none. Must outlive the cache.
    WriteAheadLog* log = nullptr;
    // What is read ahead of a scan at most: of who asks for pages of a file one after the other,
    // which is noticed without being told. Grows from 16 pages to that as the scan goes on; never
    // more than 1/16 of the frames, and never past the end of the file. Less than 8 pages: nothing.
    // Default: as much in flight as keeps a drive busy, in transfers of 1 MiB; see
    // docs/read_ahead.md.
    size_t read_ahead_bytes = kDefaultReadAheadBytes;
    // How long an access waits that does not say. Default: longer than a disk's own retries
    // usually take, shorter than the patience of those who look for a hang.
    absl::Duration default_timeout = absl::Seconds(30);
    // How long Flush and CloseFile work that do not say. Default: 64 GiB at 200 MB/s.
    absl::Duration default_flush_timeout = absl::Minutes(6);
    // How long the destructor waits for transfers in flight.
    absl::Duration drain_timeout = absl::Seconds(30);
    // Clock, waiting, and messages. Must outlive the cache. Null: io::Environment::Default().
    // (Not that call itself: a default that may throw makes g++ 12 warn of the options'
    // members where they are used, without cause.)
    io::Environment* environment = nullptr;
  };

  // What a cache on parts of the caller's can be told; the rest is in the parts.
  struct PartsOptions {
    // Pages to take from the arena. 0: all that are free.
    size_t frame_count = 0;
    PolicyKind policy = PolicyKind::kS3Fifo;
    std::optional<uint32_t> free_frames = std::nullopt;
    // False: no thread of the cache's own; somebody runs the steps of its BackgroundWork.
    bool background_thread = true;
    double dirty_share = kDefaultDirtyShare;
    WriteAheadLog* log = nullptr;
    size_t read_ahead_bytes = kDefaultReadAheadBytes;
    absl::Duration default_timeout = absl::Seconds(30);
    absl::Duration default_flush_timeout = absl::Minutes(6);
    absl::Duration drain_timeout = absl::Seconds(30);
  };

  // A cache that makes its own registry, arena and engine, and owns them.
  // InvalidArgument: an option out of its range. Unimplemented, ResourceExhausted: what was
  // required cannot be had, or there is no memory, or no thread; the message says what to do.
  static absl::StatusOr<std::unique_ptr<PageCache>> Create(Options options);
  static absl::StatusOr<std::unique_ptr<PageCache>> Create() { return Create(Options()); }
  // A cache on parts of the caller's. The engine must be attached to the arena's registry,
  // whose environment the cache uses, and must have nothing in flight.
  // InvalidArgument: a part is null. ResourceExhausted: the arena has not as many free pages, or
  // the system no thread.
  // FailedPrecondition: the parts are from before a fork, and this is the child.
  static absl::StatusOr<std::unique_ptr<PageCache>> Create(arena::PageArena* arena,
                                                           io::IoEngine* engine,
                                                           PartsOptions options);
  static absl::StatusOr<std::unique_ptr<PageCache>> Create(arena::PageArena* arena,
                                                           io::IoEngine* engine) {
    return Create(arena, engine, PartsOptions());
  }
  // CHECKs that no guard is alive.
  ~PageCache();
  PageCache(const PageCache&) = delete;
  PageCache& operator=(const PageCache&) = delete;

  // Errors of io::File::Open (NotFound, FailedPrecondition if somebody else writes it, ...),
  // File::Preallocate and IoEngine::AddFile. FailedPrecondition also: it is open in this
  // cache. InvalidArgument also: direct I/O on it needs larger pages; options that exclude
  // each other; a seal without an identity, or with a trailer that pages have no room for; a
  // double-write area without a seal. Unimplemented also: TornPageProtection::kAtomic, and the file
  // has no atomic writes of pages. FailedPrecondition, DataLoss also: of its double-write area,
  // with what to do (FileOptions::torn_pages). Pages that a crash has torn have been repaired
  // afterwards.
  absl::StatusOr<FileId> OpenFile(const std::string& path, FileOptions options);
  absl::StatusOr<FileId> OpenFile(const std::string& path) { return OpenFile(path, FileOptions()); }
  // The same of a file that the caller has opened (or made up: see io::File), which decides what
  // of the options is about opening. InvalidArgument also: null.
  absl::StatusOr<FileId> OpenFile(std::shared_ptr<io::File> file, FileOptions options);
  absl::StatusOr<FileId> OpenFile(std::shared_ptr<io::File> file) {
    return OpenFile(std::move(file), FileOptions());
  }
  // Flushes the file (unless told to discard its changes), forgets its pages and closes it.
  // On any error the file stays open and nothing is lost: NotFound; FailedPrecondition: a
  // guard of it is alive (the message names its page), some thread waits for a page of it,
  // or closes it; and the errors of Flush.
  absl::Status CloseFile(FileId file, CloseOptions options);
  absl::Status CloseFile(FileId file) { return CloseFile(file, CloseOptions()); }

  // The page, for reading. Errors: see above.
  ABSL_ATTRIBUTE_ALWAYS_INLINE absl::StatusOr<ReadGuard> Read(const PageId& page,
                                                              const AccessOptions& options) {
    if (ABSL_PREDICT_FALSE(options.expected_lsn != Lsn::kNone)) return ReadSlowly(page, options);
    const HitPath::Latched hit = hit_path_.TryShared(page, options.hint);
    if (ABSL_PREDICT_FALSE(hit.word == nullptr)) return ReadSlowly(page, options);
    return hit_path_.GuardOf<ReadGuard>(hit, page, PageLatch::Mode::kShared);
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE absl::StatusOr<ReadGuard> Read(const PageId& page) {
    const HitPath::Latched hit = hit_path_.TryShared(page, Hint::kNormal);
    if (ABSL_PREDICT_FALSE(hit.word == nullptr)) return ReadSlowly(page, AccessOptions());
    return hit_path_.GuardOf<ReadGuard>(hit, page, PageLatch::Mode::kShared);
  }
  // The page, for a look that holds nobody up and may turn out to have been in vain: see
  // OptimisticGuard. Waits, and for what, as Read does. Errors: see above.
  ABSL_ATTRIBUTE_ALWAYS_INLINE absl::StatusOr<OptimisticGuard> ReadOptimistic(
      const PageId& page, const AccessOptions& options) {
    if (ABSL_PREDICT_FALSE(options.expected_lsn != Lsn::kNone)) {
      return ReadOptimisticSlowly(page, options);
    }
    const HitPath::Seen hit = hit_path_.TryOptimistic(page, options.hint);
    if (ABSL_PREDICT_FALSE(hit.word == nullptr)) return ReadOptimisticSlowly(page, options);
    return absl::StatusOr<OptimisticGuard>(absl::in_place, hit_path_.GuardOf(hit, page));
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE absl::StatusOr<OptimisticGuard> ReadOptimistic(const PageId& page) {
    const HitPath::Seen hit = hit_path_.TryOptimistic(page, Hint::kNormal);
    if (ABSL_PREDICT_FALSE(hit.word == nullptr)) return ReadOptimisticSlowly(page, AccessOptions());
    return absl::StatusOr<OptimisticGuard>(absl::in_place, hit_path_.GuardOf(hit, page));
  }
  // The page, for changing. Past the end of the file it is made, as by Make. Errors: see above.
  ABSL_ATTRIBUTE_ALWAYS_INLINE absl::StatusOr<WriteGuard> Write(const PageId& page,
                                                                const AccessOptions& options) {
    if (ABSL_PREDICT_FALSE(options.expected_lsn != Lsn::kNone)) return WriteSlowly(page, options);
    const HitPath::Latched hit = hit_path_.TryExclusive(page, options.hint);
    if (ABSL_PREDICT_FALSE(hit.word == nullptr)) return WriteSlowly(page, options);
    return hit_path_.GuardOf<WriteGuard>(hit, page, PageLatch::Mode::kExclusive);
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE absl::StatusOr<WriteGuard> Write(const PageId& page) {
    const HitPath::Latched hit = hit_path_.TryExclusive(page, Hint::kNormal);
    if (ABSL_PREDICT_FALSE(hit.word == nullptr)) return WriteSlowly(page, AccessOptions());
    return hit_path_.GuardOf<WriteGuard>(hit, page, PageLatch::Mode::kExclusive);
  }
  // A page of zeros in place of whatever was there, without reading it; dirty from the start.
  // The file ends behind it or where it ended before. Errors: see above.
  absl::StatusOr<WriteGuard> Make(const PageId& page, const AccessOptions& options);
  absl::StatusOr<WriteGuard> Make(const PageId& page) { return Make(page, AccessOptions()); }

  // The page, if it is in memory and its latch can be had at this moment; else none, for whatever
  // reason, those included for which Read and Write have an error. Never waits but for the cache's
  // own lock, and reads nothing from disk. A page that was got counts as a hit.
  // Also the fastest way to a page: there is no Status to be looked at.
  ABSL_ATTRIBUTE_ALWAYS_INLINE std::optional<ReadGuard> TryRead(const PageId& page,
                                                                Hint hint = Hint::kNormal) {
    const HitPath::Latched hit = hit_path_.TryShared(page, hint);
    if (ABSL_PREDICT_FALSE(hit.word == nullptr)) return TryReadSlowly(page, hint);
    return std::optional<ReadGuard>(std::in_place, std::in_place,
                                    hit_path_.HoldOf(hit, page, PageLatch::Mode::kShared));
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE std::optional<WriteGuard> TryWrite(const PageId& page,
                                                                  Hint hint = Hint::kNormal) {
    const HitPath::Latched hit = hit_path_.TryExclusive(page, hint);
    if (ABSL_PREDICT_FALSE(hit.word == nullptr)) return TryWriteSlowly(page, hint);
    return std::optional<WriteGuard>(std::in_place, std::in_place,
                                     hit_path_.HoldOf(hit, page, PageLatch::Mode::kExclusive));
  }
  // A look at it, if it is in memory and nobody changes it at this moment; else one of no page.
  ABSL_ATTRIBUTE_ALWAYS_INLINE OptimisticGuard TryReadOptimistic(const PageId& page,
                                                                 Hint hint = Hint::kNormal) {
    const HitPath::Seen hit = hit_path_.TryOptimistic(page, hint);
    if (ABSL_PREDICT_FALSE(hit.word == nullptr)) return OptimisticGuard();
    return hit_path_.GuardOf(hit, page);
  }

  // The same of many pages, guards[i] of pages[i], for who visits all of them: the processor
  // fetches them side by side. A few ns a page; best in groups of about 16, as many as a core can
  // wait for at once. guards are as many as pages (CHECKed).
  void TryReadOptimisticMany(absl::Span<const PageId> pages,
                             absl::Span<OptimisticGuard> guards) const {
    FIXPOOL_CHECK(guards.size() == pages.size(), "as many guards as pages are wanted");
    hit_path_.TryOptimisticMany(pages, guards.data());
  }

  // TryRead, TryWrite and TryReadOptimistic of a page that was had before, at the cost of a pointer
  // to it: see PageHint. None also
  // if the page is not in the same frame any more; then the page's number leads to it. It may have
  // been changed since: the guard's UnchangedSince tells.
  ABSL_ATTRIBUTE_ALWAYS_INLINE std::optional<ReadGuard> TryRead(const PageHint& hint) {
    const HitPath::Latched hit = hit_path_.TryShared(hint);
    if (ABSL_PREDICT_FALSE(hit.word == nullptr)) return std::nullopt;
    return std::optional<ReadGuard>(std::in_place, std::in_place,
                                    hit_path_.HintedHold(hit, hint, PageLatch::Mode::kShared));
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE std::optional<WriteGuard> TryWrite(const PageHint& hint) {
    const HitPath::Latched hit = hit_path_.TryExclusive(hint);
    if (ABSL_PREDICT_FALSE(hit.word == nullptr)) return std::nullopt;
    return std::optional<WriteGuard>(std::in_place, std::in_place,
                                     hit_path_.HintedHold(hit, hint, PageLatch::Mode::kExclusive));
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE OptimisticGuard TryReadOptimistic(const PageHint& hint) {
    const HitPath::Seen hit = hit_path_.TryOptimistic(hint);
    if (ABSL_PREDICT_FALSE(hit.word == nullptr)) return OptimisticGuard();
    return hit_path_.HintedGuard(hit, hint);
  }

  // Read, Write and Make for tasks: `co_await cache->ReadAsync(page)` in a Task<T> (see task.h) is
  // what Read(page) is, with the same errors, but that other tasks of the same scheduler run while
  // this one waits. The scheduler's Progress is a CacheProgress of this cache. A page that can be
  // had at once does not make its task wait.
  // A task may be destroyed while it waits: what it waited for is passed on, and a read that it
  // started goes on without it. All tasks that wait must have gone before the cache goes.
  // Latches: another task of the same thread may hold what a task waits for, so this is no
  // FailedPrecondition, as it is for a thread; tasks that wait for each other, or for themselves,
  // end in DeadlineExceeded. A guard may be kept across co_await.
  PageAwaiter<ReadGuard> ReadAsync(const PageId& page, const AccessOptions& options) {
    return PageAwaiter<ReadGuard>(hit_path_, page, Intent::kRead, options);
  }
  PageAwaiter<ReadGuard> ReadAsync(const PageId& page) { return ReadAsync(page, AccessOptions()); }
  PageAwaiter<WriteGuard> WriteAsync(const PageId& page, const AccessOptions& options) {
    return PageAwaiter<WriteGuard>(hit_path_, page, Intent::kWrite, options);
  }
  PageAwaiter<WriteGuard> WriteAsync(const PageId& page) {
    return WriteAsync(page, AccessOptions());
  }
  PageAwaiter<WriteGuard> MakeAsync(const PageId& page, const AccessOptions& options) {
    return PageAwaiter<WriteGuard>(hit_path_, page, Intent::kMake, options);
  }
  PageAwaiter<WriteGuard> MakeAsync(const PageId& page) { return MakeAsync(page, AccessOptions()); }

  // Read of many pages at once: guards[i] becomes that of pages[i], or the error of that page
  // alone. Those that are not in memory are read side by side, as many as there is room for. A
  // page may be named twice; it gets two guards. Returns how many guards there are.
  // The timeout is for all of them together. Guards are kept from the first that was got to the
  // last: two threads that want each other's pages, one of them for writing, end in
  // DeadlineExceeded like any two that latch in different orders.
  // InvalidArgument for every page: there are more pages than frames, or fewer guards than
  // pages.
  size_t ReadMany(absl::Span<const PageId> pages, absl::Span<absl::StatusOr<ReadGuard>> guards,
                  const AccessOptions& options);
  size_t ReadMany(absl::Span<const PageId> pages, absl::Span<absl::StatusOr<ReadGuard>> guards) {
    return ReadMany(pages, guards, AccessOptions());
  }

  // Asks the processor to fetch the first bytes of those pages that are in memory into its caches,
  // side by side, for who is about to visit all of them otherwise than by TryReadOptimisticMany.
  // Does nothing else; a few ns a page.
  void PrefetchLines(absl::Span<const PageId> pages) const { hit_path_.PrefetchLines(pages); }

  // Starts reading those pages that are not in memory, together (adjacent ones that are named one
  // after the other in one transfer), and returns how many: as many as there are frames and room in
  // the engine for, without waiting. Pages past the end are passed over. Who later asks for one
  // waits for what is left of its read, also if this thread never calls again.
  // NotFound, and that of a failed sync: as Read; nothing was started.
  absl::StatusOr<size_t> Prefetch(absl::Span<const PageId> pages);

  // Writes what is dirty in the file at the time of the call, in the order of page numbers,
  // and syncs it. OK: all of that is on stable storage.
  // DeadlineExceeded: not within `timeout` (absent: Options::default_flush_timeout).
  // FailedPrecondition: this thread holds a WriteGuard of the file, or it is being closed.
  // NotFound. Any other: a write failed, and its page is dirty as before; or the sync failed.
  // After a failed sync the disk may have forgotten pages that the kernel took for written,
  // and would not say so again (fsync(2)). So this file's Flush, Write and Make, and Read of
  // pages not in memory, return that first error from then on; Read of those in memory goes
  // on. CloseFile with discard_changes and a new OpenFile find what is really there.
  absl::Status Flush(FileId file, std::optional<absl::Duration> timeout = std::nullopt);
  // Flush of each open file that is writable, one after the other, within `timeout` in all;
  // the first error, after all have been tried.
  absl::Status FlushAll(std::optional<absl::Duration> timeout = std::nullopt);

  // ---- What a file consists of: see docs/file_operations.md ----
  //
  // Errors of all three: NotFound; FailedPrecondition: the file was opened read-only, or is being
  // closed, or this is called from within WriteAheadLog::EnsureDurable; that of a sync that failed
  // before (see Flush); DeadlineExceeded: not within SpaceOptions::timeout. Nothing has changed
  // then, unless it says otherwise. Others by errno, of the system call that is named. They wait
  // for each other, if they are about the same file, in the order in which they came; who wants a
  // page that they are about waits for them.

  // Makes the file longer by so many pages, and returns the first: no other call, and no Make or
  // Write past the end, gets one of these. Nothing is read or written: disk space is reserved
  // (io::File::Preallocate), and the pages read as zeros until somebody changes them. On stable
  // storage with the next Flush; after a crash before that, the file may be as long as before.
  // InvalidArgument: 0 pages, or more than a file can have. ResourceExhausted: no disk space.
  // OutOfRange: a block device, which has all its pages from the start; or the file system has no
  // files as large as that. Unimplemented: SpaceOptions::require_reserved.
  absl::StatusOr<PageNumber> Allocate(FileId file, uint64_t pages, SpaceOptions options);
  absl::StatusOr<PageNumber> Allocate(FileId file, uint64_t pages) {
    return Allocate(file, pages, SpaceOptions());
  }
  // Nobody needs what pages [first, first + count) hold: they are forgotten without being written,
  // and their disk space is given back. From then on they read as zeros, and can be used as before.
  // On stable storage with the next Flush; after a crash before that, each may hold what it held.
  // InvalidArgument: no pages. OutOfRange: not all of them exist. FailedPrecondition also: one is
  // held by a guard or waited for; the message names it. Unimplemented: the file system cannot
  // punch holes (or the block device cannot do so and read as zeros); Make them anew, then. Of an
  // error other than these that the kernel gives, the pages in memory are as they were, and on disk
  // each as it was, or zeros.
  absl::Status FreePages(FileId file, PageNumber first, uint64_t count, SpaceOptions options);
  absl::Status FreePages(FileId file, PageNumber first, uint64_t count) {
    return FreePages(file, first, count, SpaceOptions());
  }
  // The file consists of `page_count` pages, and is exactly as long. What lay behind is forgotten
  // without being written, and does not come back: OK means that the new length is on stable
  // storage. What is new reads as zeros; for space to be reserved, Allocate.
  // InvalidArgument: more than a file can have. FailedPrecondition also: as for FreePages.
  // Unimplemented: a block device.
  // Of errors whose message is of a sync, and DeadlineExceeded of one: the file has been truncated,
  // and whether it is after a crash is unknown.
  absl::Status Truncate(FileId file, uint64_t page_count, SpaceOptions options);
  absl::Status Truncate(FileId file, uint64_t page_count) {
    return Truncate(file, page_count, SpaceOptions());
  }
  // CloseFile with discard_changes: forgets the file's pages without writing any, and closes it.
  // The way out of a file whose sync has failed, and before one is removed (io::RemoveFile).
  absl::Status Drop(FileId file, std::optional<absl::Duration> timeout = std::nullopt) {
    return CloseFile(file, {.discard_changes = true, .timeout = timeout});
  }

  // ---- For recovery: see docs/write_ahead_logging.md ----

  // The first-dirty LSN of all pages of this cache that are not on stable storage as they are in
  // memory: recovery after a crash at this moment needs the log from there on. A page counts until
  // the sync after its write has returned; those of a file whose sync failed for as long as it is
  // open. None: there are no such pages.
  // A page's first-dirty LSN is what WriteAheadLog::NextLsn said when it was changed first, or what
  // WriteGuard::set_lsn said, if that is less. For a checkpoint: ask the log for its end, *then*
  // this, and take the lesser of the two. Looks at all frames, a few thousand at a time.
  std::optional<Lsn> OldestDirtyLsn() const;
  // Writes and syncs what has to be for OldestDirtyLsn() to be more than `up_to`: pages whose
  // first-dirty LSN is not, in the order of their places, file after file. Others go on reading and
  // changing pages meanwhile; what becomes dirty later is not part of it.
  // Errors: as Flush; the first, after all files have been tried.
  absl::Status Checkpoint(Lsn up_to, std::optional<absl::Duration> timeout = std::nullopt);

  // Makes the cache as large as that, while others use it: afterwards it has memory for at least
  // memory_bytes of pages, and for less than a region (Options::region_bytes) more; at least a
  // region. OK also if it was so before.
  //
  // Growing: new frames are there for others when this returns. It takes as long as the kernel
  // needs to find and clear the memory, whatever `timeout` says.
  // Shrinking, within `timeout` (absent: Options::default_flush_timeout): from the start no page
  // is brought into memory that is to go. Pages that the replacement policy values least are
  // evicted (changed ones are written before), the others are moved, until the regions are empty
  // and the system's again, in one step at the end. Others wait for a frame only if those that are
  // to stay are all in use. A page that is held by a guard stays where it is and is waited for; so
  // are those that are waited for, or in flight. An OptimisticGuard of a page that went away or was
  // moved turns invalid, and what it shows can be read as long as the cache lives.
  // A thread that holds guards may find itself waiting for its own; tasks of this thread do
  // not go on meanwhile.
  // frame_count() counts frames that pages are brought into, Stats() those that are to go, too.
  //
  // DeadlineExceeded: it was not all done in time. All memory is in service again, and the cache as
  //   large as before, with fewer pages in it.
  // InvalidArgument: memory_bytes is 0.
  // ResourceExhausted: no memory (more than the machine has, for one), no slots in the registry for
  //   more regions, no huge pages or RLIMIT_MEMLOCK where required; or more than
  //   Options::max_memory_bytes. The cache is as before.
  // FailedPrecondition: another Resize is at work, or another thread resizes the arena; or the
  // arena
  //   is the caller's and the cache has not all of its pages. Of one that it has all of, the caller
  //   must not take any meanwhile.
  // Others: as arena::PageArena::Grow and Shrink. Where the kernel or a ring does not let go of a
  //   region that is empty, it is lost to the cache and to the system; frame_count() tells.
  absl::Status Resize(size_t memory_bytes, std::optional<absl::Duration> timeout = std::nullopt);

  // The pages of the file: those on disk, and those made since. NotFound.
  absl::StatusOr<uint64_t> PageCount(FileId file) const;

  uint32_t page_bytes() const;
  // Of these, what users see of each page of the file: the rest is its seal's. NotFound.
  absl::StatusOr<uint32_t> PayloadBytes(FileId file) const;
  // What keeps the file's pages from being torn by a crash: kNone, kAtomic or kDoubleWrite,
  // whatever FileOptions::torn_pages said. A file that is not written has kNone. NotFound.
  absl::StatusOr<TornPageProtection> ProtectionOf(FileId file) const;
  // Changes with Resize.
  size_t frame_count() const;
  CacheStats Stats() const;
  // For people: how transfers reach the kernel, what the memory stands on, Stats(), and files whose
  // pages are protected from being torn, each with how.
  std::string Describe() const;

 private:
  friend class BackgroundWork;
  friend class CacheInspector;  // of tests
  friend class CacheProgress;
  struct Rep;
  explicit PageCache(std::unique_ptr<Rep> rep);

  absl::StatusOr<ReadGuard> ReadSlowly(const PageId& page, const AccessOptions& options);
  absl::StatusOr<WriteGuard> WriteSlowly(const PageId& page, const AccessOptions& options);
  std::optional<ReadGuard> TryReadSlowly(PageId page, Hint hint);
  std::optional<WriteGuard> TryWriteSlowly(PageId page, Hint hint);

  absl::StatusOr<OptimisticGuard> ReadOptimisticSlowly(const PageId& page,
                                                       const AccessOptions& options);

  bool forked() const;
  absl::Status Refusal(absl::string_view operation) const;

  std::unique_ptr<Rep> rep_;
  const HitPath hit_path_;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_PAGE_CACHE_H_
