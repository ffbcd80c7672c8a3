#ifndef FIXPOOL_BENCHMARKS_CACHE_RUNNER_H_
#define FIXPOOL_BENCHMARKS_CACHE_RUNNER_H_

#include "absl/status/statusor.h"
#include "benchmarks/page_file.h"
#include "benchmarks/page_io_options.h"
#include "benchmarks/page_ledger.h"
#include "benchmarks/run_result.h"

namespace fixpool::benchmarks {

// The run of `--layer=cache`: pages through one storage::PageCache of options.cache_bytes
// that all threads share. `file` is prepared. With a ledger everything read is checked, and
// everything written is entered and flushed; without one it is null.
//
// How it keeps a device busy: see BatchWorker and TaskWorker, of which options.access chooses.
// An operation is a page that was looked at or written to in memory.
//
// What is counted. A page that Prefetch brought in is a hit for the cache's own statistics,
// by the time it is used; but that is not what somebody wants to know who compares with a
// disk. So: misses are pages that had to be read from the file, on whose behalf ever; hits
// are all other uses.
absl::StatusOr<RunResult> RunCache(const PageIoOptions& options, const PageFile& file,
                                   PageLedger* ledger);

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_CACHE_RUNNER_H_
