#ifndef FIXPOOL_TESTS_SUPPORT_SEED_H_
#define FIXPOOL_TESTS_SUPPORT_SEED_H_

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace fixpool::tests {

// The seed of a random test: FIXPOOL_TEST_SEED, or a fresh one; printed either way, so that
// a failure can be repeated.
inline uint64_t Seed() {
  const char* given = std::getenv("FIXPOOL_TEST_SEED");
  const uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  std::printf("seed: FIXPOOL_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  return seed;
}

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_SUPPORT_SEED_H_
