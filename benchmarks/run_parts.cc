#include "benchmarks/run_parts.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "fixpool/arena/ladder.h"
#include "fixpool/arena/page_backing.h"
#include "fixpool/io/open_engine.h"

namespace fixpool::benchmarks {
namespace {

// The level at which `engine` moves pages of the run's file.
absl::StatusOr<io::EngineLevel> LevelForRunFile(io::IoEngine& engine,
                                                std::shared_ptr<io::File> file) {
  absl::StatusOr<io::FileHandle> handle = engine.AddFile(std::move(file));
  if (!handle.ok()) return handle.status();
  const absl::StatusOr<io::EngineLevel> level = engine.LevelOf(*handle);
  if (absl::Status status = engine.RemoveFile(*handle, io::Deadline::Infinite()); !status.ok()) {
    return status;
  }
  return level;
}

}  // namespace

static_assert(kMinPageBytes == arena::PageArena::kMinPageBytes);
static_assert(kMaxPageBytes == arena::PageArena::kMaxPageBytes);

absl::StatusOr<PageMemory> MakePageMemory(const PageIoOptions& options, uint64_t size_bytes) {
  PageMemory memory;
  auto registry = io::FixedBufferRegistry::Create({});
  if (!registry.ok()) return registry.status();
  memory.registry = *std::move(registry);

  // Huge pages serve only whole ones of them.
  const arena::PageBacking unit = options.pages.required.value_or(arena::PageBacking::k2MiB);
  const uint64_t unit_bytes = arena::PageBackingBytes(unit);
  arena::PageArena::Options arena_options;
  arena_options.size_bytes = (size_bytes + unit_bytes - 1) / unit_bytes * unit_bytes;
  arena_options.page_bytes = options.page_bytes;
  if (options.pages.required.has_value()) {
    arena_options.ladder = arena::Ladder::Only(*options.pages.required);
  }
  if (options.engine.required == io::EngineLevel::kUringFixed) {
    arena_options.fixed = io::FixedBufferRegistry::FixedPolicy::kRequire;
  }
  auto arena = arena::PageArena::Create(memory.registry.get(), arena_options);
  if (!arena.ok()) return arena.status();
  memory.arena = *std::move(arena);
  return memory;
}

absl::StatusOr<std::shared_ptr<io::File>> OpenRunFile(const PageIoOptions& options,
                                                      bool read_only) {
  return io::File::Open(options.file, {.read_only = read_only,
                                       .direct = options.direct ? io::File::DirectIo::kRequire
                                                                : io::File::DirectIo::kNever});
}

absl::StatusOr<std::unique_ptr<io::IoEngine>> OpenRunEngine(const PageIoOptions& options,
                                                            uint32_t depth,
                                                            std::shared_ptr<io::File> file,
                                                            const PageMemory& memory) {
  return io::OpenEngine(memory.registry.get(), {.depth = depth,
                                                .require = options.engine.required,
                                                .threads = std::min(depth, 64u),
                                                .probe_file = std::move(file)});
}

absl::StatusOr<CacheParts> MakeCacheParts(const PageIoOptions& options, uint32_t engine_depth) {
  CacheParts parts;
  absl::StatusOr<PageMemory> memory = MakePageMemory(options, options.cache_bytes);
  if (!memory.ok()) return memory.status();
  parts.memory = *std::move(memory);
  // For the engine's probes alone: the cache opens the file by itself.
  absl::StatusOr<std::shared_ptr<io::File>> opened = OpenRunFile(options, /*read_only=*/true);
  if (!opened.ok()) return opened.status();
  absl::StatusOr<std::unique_ptr<io::IoEngine>> engine =
      OpenRunEngine(options, engine_depth, *opened, parts.memory);
  if (!engine.ok()) return engine.status();
  parts.engine = *std::move(engine);
  const absl::StatusOr<io::EngineLevel> level = LevelForRunFile(*parts.engine, *std::move(opened));
  if (!level.ok()) return level.status();
  LowerTo(parts.engine->Report(), *level, parts.memory.arena->Report(), parts.in_force);
  if (absl::Status status = CheckRequirement(options, parts.in_force); !status.ok()) return status;
  return parts;
}

}  // namespace fixpool::benchmarks
