#ifndef FIXPOOL_TESTS_SIMULATION_MACHINE_H_
#define FIXPOOL_TESTS_SIMULATION_MACHINE_H_

#include <deque>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "fixpool/arena/page_arena.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/storage/background_work.h"
#include "fixpool/storage/cache_progress.h"
#include "fixpool/storage/coroutine_frames.h"
#include "fixpool/storage/page_cache.h"
#include "fixpool/storage/spawned_task.h"
#include "fixpool/storage/task_scheduler.h"
#include "fixpool/storage/write_ahead_log.h"
#include "tests/simulation/cache_inspector.h"
#include "tests/simulation/held_page.h"
#include "tests/simulation/pause_list.h"
#include "tests/simulation/sim_engine.h"

namespace fixpool::simulation {

// What is lost when the power goes off: the real cache on the real arena, on an engine that is not
// real, and all who use them. Members are destroyed from the last to the first.
struct Machine {
  Machine(SimEnvironment* environment, TransferObserver* observer, SimRandom* random,
          Verdict* verdict, storage::WriteAheadLog* log, const SimOptions& options);

  std::unique_ptr<io::FixedBufferRegistry> registry;
  std::unique_ptr<arena::PageArena> arena;
  std::unique_ptr<SimEngine> engine;
  std::unique_ptr<storage::PageCache> cache;
  storage::CacheInspector inspector;
  storage::BackgroundWork background;
  storage::CacheProgress progress;
  std::unique_ptr<storage::CoroutineFrames> coroutine_frames;
  storage::TaskScheduler scheduler;
  GuardBook book;
  PauseList pauses;
  std::deque<HeldPage> guards;  // that are held outside of tasks
  std::vector<storage::SpawnedTask<absl::Status>> tasks;
};

}  // namespace fixpool::simulation

#endif  // FIXPOOL_TESTS_SIMULATION_MACHINE_H_
