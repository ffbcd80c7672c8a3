#ifndef FIXPOOL_BENCHMARKS_TRACE_TURNS_H_
#define FIXPOOL_BENCHMARKS_TRACE_TURNS_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "benchmarks/page_trace.h"

namespace fixpool::benchmarks {

// Calls visit(thread, record) for each record of the trace, in order, by `threads` threads (from 0
// on) that take turns of 64 records: nobody runs far ahead of the others. Returns the seconds that
// it took. `visit` is called by all threads at a time.
double VisitInTurns(const PageTrace& trace, uint32_t threads,
                    absl::FunctionRef<void(uint32_t thread, uint32_t record)> visit);

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_TRACE_TURNS_H_
