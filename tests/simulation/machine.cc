#include "tests/simulation/machine.h"

#include "fixpool/arena/ladder.h"
#include "fixpool/arena/page_backing.h"

namespace fixpool::simulation {
namespace {

// Those of short accesses are chosen one by one.
constexpr absl::Duration kAccessTimeout = absl::Seconds(2);
constexpr absl::Duration kFlushTimeout = absl::Seconds(10);

std::unique_ptr<arena::PageArena> MakeArena(io::FixedBufferRegistry* registry,
                                            const SimOptions& options) {
  return *arena::PageArena::Create(registry,
                                   {.size_bytes = options.frames * kPageBytes,
                                    .ladder = arena::Ladder::Only(arena::PageBacking::k4KiB),
                                    .region_bytes = options.region_frames * kPageBytes,
                                    .prefault_threads = 1,
                                    .thread_magazines = 1});
}

std::unique_ptr<storage::PageCache> MakeCache(arena::PageArena* arena, io::IoEngine* engine,
                                              storage::WriteAheadLog* log,
                                              const SimOptions& options) {
  return *storage::PageCache::Create(arena, engine,
                                     {.policy = options.policy,
                                      .free_frames = options.free_frames,
                                      .background_thread = false,
                                      .dirty_share = options.dirty_share,
                                      .log = log,
                                      .read_ahead_bytes = options.read_ahead_bytes,
                                      .default_timeout = kAccessTimeout,
                                      .default_flush_timeout = kFlushTimeout});
}

}  // namespace

Machine::Machine(SimEnvironment* environment, TransferObserver* observer, SimRandom* random,
                 Verdict* verdict, storage::WriteAheadLog* log, const SimOptions& options)
    : registry(*io::FixedBufferRegistry::Create({.capacity = 256, .environment = environment})),
      arena(MakeArena(registry.get(), options)),
      engine(std::make_unique<SimEngine>(registry.get(), environment, observer, random, verdict,
                                         options)),
      cache(MakeCache(arena.get(), engine.get(), log, options)),
      inspector(cache.get()),
      background(cache.get()),
      progress(cache.get()),
      coroutine_frames(*storage::CoroutineFrames::Create(
          {.frame_count = 2 * options.tasks + 2, .frame_bytes = 8192})),
      scheduler(coroutine_frames.get(), &progress, environment) {}

}  // namespace fixpool::simulation
