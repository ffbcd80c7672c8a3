#include "tests/simulation/sim_options.h"

#include <algorithm>
#include <iterator>

namespace fixpool::simulation {
namespace {

// None in half of all lives, few in most others.
uint32_t Rate(SimRandom& random) {
  constexpr uint32_t kRates[] = {0, 0, 0, 10, 30, 150};
  return kRates[random.Below(std::size(kRates))];
}

}  // namespace

SimOptions SimOptions::FromSeed(uint64_t seed, uint64_t steps, SimRandom& random) {
  SimOptions options;
  options.seed = seed;
  options.steps = steps;
  options.region_frames = uint32_t{4} << random.Below(3);
  constexpr uint32_t kFrames[] = {8, 8, 12, 16, 24, 32, 64};
  options.frames = std::max<uint32_t>(kFrames[random.Below(std::size(kFrames))], 8);
  // A scan is read ahead in a 16th of the frames, and not for less than 8 of them.
  if (random.Chance(120)) {
    options.frames = 128 + 32 * static_cast<uint32_t>(random.Below(3));
    options.region_frames = 32;
  }
  const uint32_t regions = (options.frames + options.region_frames - 1) / options.region_frames;
  options.frames = regions * options.region_frames;
  options.free_frames = static_cast<uint32_t>(random.Below(options.frames / 4 + 1));
  options.read_ahead_bytes = random.Chance(700) ? size_t{64} << 12 : 0;
  constexpr storage::PolicyKind kPolicies[] = {
      storage::PolicyKind::kS3Fifo, storage::PolicyKind::kClock, storage::PolicyKind::kLru};
  options.policy = kPolicies[random.Below(std::size(kPolicies))];
  options.depth = static_cast<uint32_t>(random.Between(1, 20));
  options.joined_depth = static_cast<uint32_t>(random.Below(std::min(options.depth, 4u) + 1));
  options.most_pages = random.Between(4, options.frames * 2);
  if (random.Chance(500)) options.most_pages = random.Between(4, options.frames / 2);
  options.most_pages = std::min<uint64_t>(options.most_pages, 96);
  options.tasks = static_cast<uint32_t>(random.Between(1, 12));
  options.guards = static_cast<uint32_t>(random.Between(1, 6));
  options.crash = random.Chance(800) ? static_cast<uint32_t>(random.Between(1, 6)) : 0;
  options.rates = {.read_error = Rate(random),
                   .write_error = Rate(random),
                   .sync_error = Rate(random),
                   .engine_full = Rate(random),
                   .slow = Rate(random),
                   .open_error = Rate(random)};
  if (random.Chance(400)) {
    for (bool& sealed : options.sealed) sealed = random.Chance(700);
    // A disk that is as good as its word, or pages that are torn for good.
    options.double_writes = random.Chance(500);
    options.area_pages = random.Between(4, 40);
    if (!options.double_writes) {
      options.rates.bit_flip = Rate(random);
      options.rates.lost_write = Rate(random);
      options.rates.misdirected_write = Rate(random);
    }
  }
  constexpr double kDirtyShares[] = {0, 0.05, 0.25, 0.25, 0.5, 1};
  options.dirty_share = kDirtyShares[random.Below(std::size(kDirtyShares))];
  options.log = random.Chance(600);
  options.log_error = Rate(random);
  options.log_slow = Rate(random);
  return options;
}

}  // namespace fixpool::simulation
