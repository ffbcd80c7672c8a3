#ifndef FIXPOOL_BENCHMARKS_RUN_PARTS_H_
#define FIXPOOL_BENCHMARKS_RUN_PARTS_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "benchmarks/in_force.h"
#include "benchmarks/page_io_options.h"
#include "fixpool/arena/page_arena.h"
#include "fixpool/io/file.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"

namespace fixpool::benchmarks {

// The parts of Fixpool that a run works with, made as --pages, --engine and --direct say.

// Where the pages of a run are. Move-only; engines on `registry` must be gone before it.
struct PageMemory {
  std::unique_ptr<io::FixedBufferRegistry> registry;  // outlives the arena
  std::unique_ptr<arena::PageArena> arena;
};

// Room for at least `size_bytes` of pages. Errors of PageArena::Create.
absl::StatusOr<PageMemory> MakePageMemory(const PageIoOptions& options, uint64_t size_bytes);

// The file. Only one opening of it at a time may be for writing. Errors of io::File::Open.
absl::StatusOr<std::shared_ptr<io::File>> OpenRunFile(const PageIoOptions& options, bool read_only);

// An engine on `memory`, probed on `file`. Errors of io::OpenEngine.
absl::StatusOr<std::unique_ptr<io::IoEngine>> OpenRunEngine(const PageIoOptions& options,
                                                            uint32_t depth,
                                                            std::shared_ptr<io::File> file,
                                                            const PageMemory& memory);

// What the cache of a run is made on, and what of --engine and --pages is in force.
struct CacheParts {
  PageMemory memory;
  std::unique_ptr<io::IoEngine> engine;
  InForce in_force;
};

// Memory for --cache_bytes and an engine of that depth, probed on the run's file before a cache has
// it. Unimplemented: another engine than --engine says. Errors of the functions above.
absl::StatusOr<CacheParts> MakeCacheParts(const PageIoOptions& options, uint32_t engine_depth);

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_RUN_PARTS_H_
