#ifndef FIXPOOL_TESTS_SIMULATION_SIM_OPTIONS_H_
#define FIXPOOL_TESTS_SIMULATION_SIM_OPTIONS_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "fixpool/storage/policy_kind.h"
#include "tests/simulation/sim_random.h"

namespace fixpool::simulation {

// How often what goes wrong: times in 1000.
struct FaultRates {
  uint32_t read_error = 0;
  uint32_t write_error = 0;
  uint32_t sync_error = 0;
  uint32_t engine_full = 0;
  uint32_t slow = 0;
  uint32_t open_error = 0;
  // Of sealed files only; nothing else can find them.
  uint32_t bit_flip = 0;
  uint32_t lost_write = 0;
  uint32_t misdirected_write = 0;
};

// The machine, the cache and the habits of one simulated life. All of it follows from the seed: no
// two lives have the same faults (Groce et al., "Swarm testing", ISSTA 2012), and some have none.
struct SimOptions {
  static constexpr uint32_t kFiles = 3;

  uint64_t seed = 0;
  uint64_t steps = 1000;
  uint32_t frames = 16;
  uint32_t region_frames = 8;  // of a region: what Resize adds and takes
  uint32_t free_frames = 0;
  size_t read_ahead_bytes = 0;
  storage::PolicyKind policy = storage::PolicyKind::kS3Fifo;
  uint32_t depth = 8;
  uint32_t joined_depth = 0;
  uint64_t most_pages = 32;  // of a file
  uint32_t tasks = 4;        // at a time
  uint32_t guards = 4;       // that are held outside of tasks, at a time
  uint32_t crash = 3;        // times in 1000 steps
  double dirty_share = 0.25;
  bool log = false;        // pages carry LSNs of a SimLog, which the cache has to wait for
  uint32_t log_error = 0;  // times in 1000
  uint32_t log_slow = 0;
  // Files whose pages are sealed; only these have faults that nothing else can find.
  std::array<bool, kFiles> sealed{};
  // Sealed files that have a double-write area, with room for so many pages.
  bool double_writes = false;
  uint64_t area_pages = 16;
  FaultRates rates;

  static SimOptions FromSeed(uint64_t seed, uint64_t steps, SimRandom& random);
};

}  // namespace fixpool::simulation

#endif  // FIXPOOL_TESTS_SIMULATION_SIM_OPTIONS_H_
