#ifndef FIXPOOL_BENCHMARKS_ENGINE_RUNNER_H_
#define FIXPOOL_BENCHMARKS_ENGINE_RUNNER_H_

#include "absl/status/statusor.h"
#include "benchmarks/page_file.h"
#include "benchmarks/page_io_options.h"
#include "benchmarks/page_ledger.h"
#include "benchmarks/run_result.h"

namespace fixpool::benchmarks {

// The run of `--layer=engine`: transfers between the file and pages of an arena, through an
// io::IoEngine for each thread. `file` is prepared. With a ledger everything read is checked,
// and everything written is entered; without one it is null.
//
// How it keeps a device busy. Each thread has `depth` pages of its own. It reaps whatever has
// completed, at most depth / 8 at a time, and at once submits as many new requests. Were it
// to wait for all `depth` before it submits the next `depth`, the device would stand idle
// in between: 0.85 times the rate, seen at depth 32. One clock read serves a whole batch: it
// ends the latency of what was reaped and begins that of what is submitted next. So nothing
// that a request waits for is left out, and 25 ns are paid per batch and not per page.
//
// With a ledger, threads work on disjoint pages, and no page is in flight twice: else what a
// read may find would be anybody's guess.
absl::StatusOr<RunResult> RunEngine(const PageIoOptions& options, const PageFile& file,
                                    PageLedger* ledger);

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_ENGINE_RUNNER_H_
