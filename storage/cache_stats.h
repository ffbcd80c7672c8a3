#ifndef FIXPOOL_STORAGE_CACHE_STATS_H_
#define FIXPOOL_STORAGE_CACHE_STATS_H_

#include <cstdint>
#include <string>

#include "fixpool/io/require_cpp20.h"

namespace fixpool::storage {

// What a cache did since it was made, and what its frames hold at this moment: one consistent
// picture but for hits, pinned_frames and the bytes, which are summed up beside it. A value;
// thread-compatible.
struct CacheStats {
  // Accesses of any kind, one for each page, each counted once at most: not at all if it was
  // refused before it came to that, or gave up waiting for the latch of a page in memory.
  uint64_t hits = 0;    // the page was in memory
  uint64_t misses = 0;  // it was not, or its read was still in flight
  uint64_t made = 0;    // pages that came into being without a read
  uint64_t waits = 0;   // accesses that waited for the disk, a latch or a frame

  // Transfers.
  uint64_t reads = 0;       // of pages, started
  uint64_t prefetches = 0;  // of these, started by Prefetch or ReadMany
  uint64_t read_ahead = 0;  // of these, started for a scan before it asked
  // Of those read ahead, the ones that left memory before their scan came to them, or that it was
  // on its way to when it was given up.
  uint64_t read_ahead_wasted = 0;
  uint64_t joined_reads = 0;  // transfers that brought, or should have, several of these pages
  uint64_t writes = 0;        // of pages, finished well
  // Pages whose writes a thread of the cache's own started, so that others find clean ones.
  uint64_t background_writes = 0;
  uint64_t joined_writes = 0;  // transfers that wrote, or should have, several pages
  uint64_t double_writes = 0;  // pages whose copies were put on stable storage before
  uint64_t syncs = 0;          // finished well
  uint64_t read_errors = 0;
  uint64_t write_errors = 0;  // the page stayed dirty in memory each time
  uint64_t sync_errors = 0;   // each made one file refuse further writing
  uint64_t log_calls = 0;     // of WriteAheadLog::EnsureDurable that ended well
  uint64_t log_errors = 0;    // and that did not: pages stayed dirty in memory
  // Pages that were torn when their file was opened, and written anew from their copies.
  uint64_t pages_recovered = 0;
  uint64_t seal_errors = 0;   // pages that were read and are not what was sealed
  uint64_t lost_writes = 0;   // accesses that found a page older than AccessOptions::expected_lsn

  uint64_t evictions = 0;        // pages that gave way to others; all of them clean
  uint64_t eviction_writes = 0;  // writes started to make pages clean for that
  uint64_t moves = 0;            // pages that changed frames for a Resize
  uint64_t dropped = 0;          // pages that FreePages and Truncate found in memory
  uint64_t unreserved = 0;       // pages of Allocate that no disk space could be reserved for

  // Frames: frame_count = free + clean + dirty + in_flight. During a Resize with those that are to
  // go, which PageCache::frame_count() leaves out.
  uint64_t frame_count = 0;
  uint64_t free_frames = 0;
  uint64_t clean_frames = 0;
  uint64_t dirty_frames = 0;      // changed since last written, or the write failed
  uint64_t in_flight_frames = 0;  // being read or written
  // Of all of these: held by guards, or waited for. Counted one after the other.
  uint64_t pinned_frames = 0;
  // Of the dirty ones: the last attempt to write them failed.
  uint64_t failing_frames = 0;

  // Memory beside the pages, in bytes: what the cache knows of its frames, the replacement policy's
  // tables, this cache's share of the arena's, and the words of pages.
  uint64_t metadata_bytes = 0;
  uint64_t word_bytes = 0;  // of these: 8 for each page of a stretch that has a page in memory

  // One line: "12 hits, 3 misses, ...; frames: 64 = 10 free + ...".
  std::string ToString() const;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_CACHE_STATS_H_
