#ifndef FIXPOOL_TESTS_SIMULATION_MUTATION_CHECK_H_
#define FIXPOOL_TESTS_SIMULATION_MUTATION_CHECK_H_

#include <cstdint>
#include <string>

namespace fixpool::simulation {

struct MutationOptions {
  uint32_t jobs = 1;
  uint64_t most_seeds = 10'000;  // until a mutation counts as not found
  std::string only = {};         // the name of one; empty: all
};

// Breaks the cache in each of the ways of storage/mutation.h and looks how many seeds it takes
// until that is noticed, and by what. Prints a table, and then how many were found. Returns the
// exit status of the program: 0 if all were. Only in a build with FIXPOOL_MUTATIONS; in any other
// it says so, and fails.
int RunMutationCheck(const MutationOptions& options);

}  // namespace fixpool::simulation

#endif  // FIXPOOL_TESTS_SIMULATION_MUTATION_CHECK_H_
