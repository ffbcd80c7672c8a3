#ifndef FIXPOOL_BENCHMARKS_PAGE_IO_REPORT_H_
#define FIXPOOL_BENCHMARKS_PAGE_IO_REPORT_H_

#include <string>

#include "benchmarks/page_file.h"
#include "benchmarks/page_io_options.h"
#include "benchmarks/run_result.h"

namespace fixpool::benchmarks {

// One JSON object in one line. Its keys are page_io's interface and only ever added to.
std::string JsonReport(const PageIoOptions& options, const PageFile& file, const RunResult& result);

// The same for people: a few lines.
std::string TextReport(const PageIoOptions& options, const PageFile& file, const RunResult& result);

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_PAGE_IO_REPORT_H_
