#ifndef FIXPOOL_STORAGE_CACHE_STATE_H_
#define FIXPOOL_STORAGE_CACHE_STATE_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "fixpool/arena/page_arena.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/fork_guard.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/mutex.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/access_waiters.h"
#include "fixpool/storage/blocking_transfers.h"
#include "fixpool/storage/cache_stats.h"
#include "fixpool/storage/completion_reaper.h"
#include "fixpool/storage/frame_addresses.h"
#include "fixpool/storage/frame_lsns.h"
#include "fixpool/storage/frame_table.h"
#include "fixpool/storage/hit_counters.h"
#include "fixpool/storage/io_batch.h"
#include "fixpool/storage/joined_transfers.h"
#include "fixpool/storage/log_order.h"
#include "fixpool/storage/lsn.h"
#include "fixpool/storage/page_file_table.h"
#include "fixpool/storage/page_words.h"
#include "fixpool/storage/replacement_policy.h"
#include "fixpool/storage/retry_pause.h"
#include "fixpool/storage/write_ahead_log.h"

namespace fixpool::storage {

// What the parts of one page cache share: the tables, the lock over them, and the layers
// below. The parts are functions and short-lived objects that take a CacheState (see
// page_access.h, frame_supply.h, page_transfers.h, flusher.h, page_files.h).
//
// Locking: `mutex` guards all that can change but the words of pages (see FrameTable), is held
// for short stretches of memory work, and never across IoEngine::Submit or Reap, a file's
// system calls, or a wait.
struct CacheState {
  // The pages of the arena that are its frames at first, and memory for a table of them.
  struct Frames {
    FrameAddresses addresses;
    std::vector<FrameTable::Place> places;
    FrameTable::Memory memory;
    size_t max_frames;  // that Resize may come to
  };
  struct Timeouts {
    absl::Duration access;
    absl::Duration flush;
    absl::Duration drain;
  };
  // See PageCache::Options.
  struct BackgroundNeeds {
    std::optional<uint32_t> free_frames;
    double dirty_share;
    bool by_caller;  // it is not a thread of the cache's own that does it
  };

  CacheState(arena::PageArena* arena, io::IoEngine* engine, io::Environment* environment,
             CompletionHandler* handler, Frames frames, Timeouts timeouts,
             uint32_t read_ahead_pages, std::unique_ptr<ReplacementPolicy> policy,
             BackgroundNeeds background, WriteAheadLog* log);

  // `timeout` from now, or `otherwise`.
  io::Deadline DeadlineAfter(std::optional<absl::Duration> timeout, absl::Duration otherwise) {
    return environment->DeadlineAfter(timeout.value_or(otherwise));
  }
  std::byte* DataOf(FrameIndex frame) const { return addresses[frame]; }

  // Where the page is; kNoFrame: not in memory. Its file is open.
  FrameIndex Find(const PageId& page) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  // The page named by the frame is found there from now on, through `word`, which is that of
  // FileWords::FindOrMake.
  void Insert(FrameIndex frame, AtomicPageWord* word) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  // It is not any more. Nobody holds it.
  void Erase(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  // See FrameTable.
  bool TryVacate(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);

  // Of the page that the frame holds, or held last if it is not in the list of free ones yet.
  PageFile& FileOf(FrameIndex frame) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    return files.at(FileId(frames[frame].file_slot, 0));
  }
  PageId PageIn(FrameIndex frame) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    return {FileOf(frame).id, frames[frame].page_number()};
  }

  // Tell those who wait, threads and tasks, that there may be what they wait for: something about
  // the page in this frame; a frame for another page.
  void PageChanged(FrameIndex frame) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  void FramesChanged() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  // Frames came, or are leaving, or are not any more: what depends on their number follows.
  void FrameCountChanged() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  // If there are too few free frames: see FrameKeeper.
  void CallKeeper() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  // If there is something to write: see PageWriter.
  void CallWriter() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  // Whether there is somebody who does what is done in the background.
  bool background_works() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    return low_water > 0 && (background.by_caller || has_keeper_thread.load());
  }

  // The page in the frame, which is dirty since this moment, will not be on disk as long as
  // records from `first_dirty` on are needed to make it.
  void NoteDirty(FrameIndex frame, Lsn first_dirty) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  // Whether who wants to change a page that is clean has to wait, so that others find a clean one
  // to evict. There is somebody whom he waits for.
  bool MustNotDirty() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  // If it has lasted long enough, or would be in vain: those who want to change pages look again.
  void LiftThrottle() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  void WakeThrottled() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  // When an eviction may try pages again whose write failed.
  int64_t retry_failed_at_ns() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    return std::max(write_pause.until_ns(), search_failed_at_ns);
  }
  // Whether writers of the file are let in without the lock depends on several things, of which one
  // has changed.
  void UpdateWritable(PageFile& file) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  // To tasks alone, for who tells the threads by other means: a frame, room in the engine.
  void WakeTasksForFrames() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  void WakeTasksForTransfers() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  // Whether `collected` is worth a system call though there may soon be more of it: not so few
  // that the call costs more than they, nor so many that the device waits for them.
  bool CollectedIsEnough() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);

  // For who holds the page exclusively, without the lock: see FrameTable.
  bool IsDirtyUnderMyLatch(FrameIndex frame) const ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return frames.IsDirtyUnderMyLatch(frame);
  }
  // "page 42 of data.db", or as the id says it if the file has been closed.
  std::string NameOf(const PageId& page) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);

  const io::ForkGuard fork_guard;
  arena::PageArena* const arena;
  io::IoEngine* const engine;
  io::Environment* const environment;
  const uint32_t page_bytes;
  const Timeouts timeouts;
  const size_t max_frames;
  const uint32_t read_ahead_pages;  // of a scan at most: see read_ahead.h
  FrameAddresses addresses;         // changed by one Resize at a time, without the lock

  std::atomic<size_t> address_bytes;  // of the table of addresses, for statistics

  CompletionReaper reaper;

  mutable io::Mutex mutex;
  PageWords words;   // guarded by the lock where its header says so
  HitCounters hits;  // of HitPath
  FrameTable frames ABSL_GUARDED_BY(mutex);
  FrameLsns lsns;  // says itself who may touch what
  // Open files that have a seal. Written under the lock.
  std::atomic<uint32_t> sealed_files{0};
  std::atomic<uint32_t> double_write_files{0};  // the same, of those that have an area
  // Frames that pages are brought into: those that are there but for leaving ones. Written under
  // the lock.
  std::atomic<uint32_t> frame_count;
  // But for ReplacementPolicy::Hit, guarded by the lock.
  const std::unique_ptr<ReplacementPolicy> policy;
  PageFileTable files ABSL_GUARDED_BY(mutex);
  // The counters; its counts of frames are unused.
  CacheStats counters ABSL_GUARDED_BY(mutex);
  // Started, and not yet reaped. Kept below IoEngine::depth() (which may shrink when a file is
  // opened), so that the engine does not have to turn one away.
  uint32_t transfers ABSL_GUARDED_BY(mutex) = 0;
  uint32_t writes_in_flight ABSL_GUARDED_BY(mutex) = 0;  // of these
  uint64_t writes_begun ABSL_GUARDED_BY(mutex) = 0;      // see BusyFrame::write_number
  // Accesses that want to know of every frame that is let go of.
  uint32_t frame_waiters ABSL_GUARDED_BY(mutex) = 0;
  AccessWaiters waiters ABSL_GUARDED_BY(mutex);  // of which are tasks
  JoinedTransfers joined_reads ABSL_GUARDED_BY(mutex);
  JoinedTransfers joined_writes ABSL_GUARDED_BY(mutex);
  BlockingTransfers blocking ABSL_GUARDED_BY(mutex);
  // Started by tasks, and not with the engine yet: goes there with SubmitCollected, which every
  // thread calls before it waits.
  IoBatch collected ABSL_GUARDED_BY(mutex);
  const BackgroundNeeds background;
  // When fewer are free, the FrameKeeper is called. 0: nothing is done in the background.
  uint32_t low_water ABSL_GUARDED_BY(mutex) = 0;
  // When more are dirty, the PageWriter is called.
  uint32_t dirty_mark ABSL_GUARDED_BY(mutex) = 0;
  // When fewer can be had without a write, nobody may change clean pages, until there are a 16th
  // more.
  uint32_t clean_mark ABSL_GUARDED_BY(mutex) = 0;
  bool throttled ABSL_GUARDED_BY(mutex) = false;
  // The PageWriter has found that nothing can be written, until some write begins.
  bool throttle_in_vain ABSL_GUARDED_BY(mutex) = false;
  // Changes when those who are held up should look again. Threads sleep on it where a KeeperThread
  // takes completions in, of which there may be thousands before that.
  std::atomic<uint32_t> throttle_changes{0};
  std::atomic<bool> has_keeper_thread{false};
  bool keeper_sleeps ABSL_GUARDED_BY(mutex) = false;
  bool writer_sleeps ABSL_GUARDED_BY(mutex) = false;
  // Somebody found nothing for his page but dirty ones that only the PageWriter writes.
  bool writes_wanted ABSL_GUARDED_BY(mutex) = false;
  std::atomic<uint32_t> background_calls{0};  // changes when one of them is called
  LogOrder log_order;                         // guarded by the lock where its header says so
  // Pages whose write failed are not tried again for an eviction before it is over; with a success
  // it starts anew.
  RetryPause write_pause ABSL_GUARDED_BY(mutex){10'000'000, 1'000'000'000};
  // Nor looked for before this one, where a search found none that could be tried.
  int64_t search_failed_at_ns ABSL_GUARDED_BY(mutex) = 0;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_CACHE_STATE_H_
