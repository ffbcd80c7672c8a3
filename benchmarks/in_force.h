#ifndef FIXPOOL_BENCHMARKS_IN_FORCE_H_
#define FIXPOOL_BENCHMARKS_IN_FORCE_H_

#include <string>

#include "absl/status/status.h"
#include "benchmarks/page_io_options.h"
#include "fixpool/arena/arena_report.h"
#include "fixpool/arena/page_backing.h"
#include "fixpool/io/io_engine.h"

namespace fixpool::benchmarks {

// What was really in force in a run, whatever was asked for. A value; the best there could be
// until LowerTo has seen what there is.
struct InForce {
  io::EngineLevel engine = io::EngineLevel::kUringFixed;  // the least of all threads' engines
  int engine_errno = 0;  // why it is no better one; 0: it is the best, or was asked for
  std::string engine_reason = {};
  arena::PageBacking backing = arena::PageBacking::k1GiB;  // of most of the memory
  std::string memory = {};                                 // more about it, in lines
};

// Takes in one engine, the level that it has for the run's file, and the memory it works on:
// a ring may do fixed transfers and the memory still not be registered.
void LowerTo(const io::EngineReport& engine, io::EngineLevel file_level,
             const arena::ArenaReport& memory, InForce& in_force);

// Unimplemented, with the reason: --engine names another engine than the one in force.
absl::Status CheckRequirement(const PageIoOptions& options, const InForce& in_force);

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_IN_FORCE_H_
