#ifndef FIXPOOL_BENCHMARKS_WRITE_BACK_REPORT_H_
#define FIXPOOL_BENCHMARKS_WRITE_BACK_REPORT_H_

#include <string>

#include "benchmarks/write_back_options.h"
#include "benchmarks/write_back_runner.h"

namespace fixpool::benchmarks {

// What a run of write_back has to say, for programs and for people. docs/benchmarks.md documents
// the keys of the JSON, which do not change their meaning.
std::string WriteBackJson(const WriteBackOptions& options, const WriteBackResult& result);
std::string WriteBackText(const WriteBackOptions& options, const WriteBackResult& result);

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_WRITE_BACK_REPORT_H_
