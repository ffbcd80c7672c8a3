#include "tests/simulation/mutation_check.h"

#include <cstdio>
#include <string>

#include "fixpool/storage/mutation.h"
#include "tests/simulation/run_report.h"
#include "tests/simulation/seed_runner.h"

namespace fixpool::simulation {

#ifdef FIXPOOL_MUTATIONS

namespace {

using storage::Mutation;

struct Named {
  Mutation mutation;
  const char* name;
};

constexpr Named kMutations[] = {
    {Mutation::kNoDoubleWrite, "no_double_write"},
    {Mutation::kAcceptTornPage, "accept_torn_page"},
    {Mutation::kWriteBeforeLog, "write_before_log"},
    {Mutation::kCheckpointTooEarly, "checkpoint_too_early"},
    {Mutation::kCleanAfterFailedSync, "clean_after_failed_sync"},
    {Mutation::kSkipSync, "skip_sync"},
    {Mutation::kCleanAfterFailedWrite, "clean_after_failed_write"},
    {Mutation::kEvictPinned, "evict_pinned"},
    {Mutation::kTwoFramesForAPage, "two_frames_for_a_page"},
    {Mutation::kLostWaiter, "lost_waiter"},
    {Mutation::kWriteWhileHeld, "write_while_held"},
    {Mutation::kReadWhileLoading, "read_while_loading"},
    {Mutation::kAcceptStaleHandle, "accept_stale_handle"},
    {Mutation::kAcceptStaleFile, "accept_stale_file"},
    {Mutation::kForgetDirty, "forget_dirty"},
    {Mutation::kNoZeros, "no_zeros"},
    {Mutation::kLeakFrame, "leak_frame"},
    {Mutation::kLoseDirtyInAMove, "lose_dirty_in_a_move"},
    {Mutation::kUpgradeBesideReaders, "upgrade_beside_readers"},
    {Mutation::kCloseWithoutSync, "close_without_sync"},
    {Mutation::kSameVersion, "same_version"},
};

// True: it was found.
bool Find(const Named& one, const MutationOptions& options) {
  storage::g_mutation = one.mutation;
  uint64_t seed = 0;
  bool found = false;
  SeedResult first;
  SeedRunner runner({.jobs = options.jobs});
  runner.Run(
      [&](SeedPlan& plan) {
        if (seed == options.most_seeds) return false;
        plan.seed = ++seed;
        return true;
      },
      [&](const SeedResult& result) {
        if (!result.failed) return true;
        if (!found || result.plan.seed < first.plan.seed) first = result;
        found = true;
        return false;
      });
  storage::g_mutation = Mutation::kNone;
  if (found) {
    const std::string line = first.message.substr(0, first.message.find('\n'));
    std::printf("%-26s found by seed %llu: %s\n%28s%s\n", one.name,
                static_cast<unsigned long long>(first.plan.seed),
                std::string(NameOf(first.violated)).c_str(), "", line.c_str());
  } else {
    std::printf("%-26s NOT FOUND within %llu seeds\n", one.name,
                static_cast<unsigned long long>(seed));
  }
  std::fflush(stdout);
  return found;
}

}  // namespace

int RunMutationCheck(const MutationOptions& options) {
  int found = 0;
  int missed = 0;
  for (const Named& one : kMutations) {
    if (!options.only.empty() && options.only != one.name) continue;
    ++(Find(one, options) ? found : missed);
  }
  std::printf("%d passed, %d failed, 0 skipped\n", found, missed);
  return found > 0 && missed == 0 ? 0 : 1;
}

#else

int RunMutationCheck(const MutationOptions&) {
  std::fprintf(stderr, "simulate: built without --config=mutations: nothing can be broken\n");
  return 2;
}

#endif

}  // namespace fixpool::simulation
