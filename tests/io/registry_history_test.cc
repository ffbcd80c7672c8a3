#include "tests/io/registry_history.h"

#include <cstdint>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/seed.h"

namespace fixpool::tests {
namespace {

TEST(RegistryHistoryTest, RegistryAgreesWithANaiveModelOnAnyBitPattern) {
  std::mt19937_64 random(Seed());
  std::array<uint64_t, 6> answers{};
  for (int round = 0; round < 40; ++round) {
    std::vector<uint8_t> bytes(16384);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    Choices choices(bytes);
    RegistryHistory history;
    ASSERT_EQ(history.Run(choices), "") << "round " << round;
    EXPECT_GT(history.regions_registered(), 10u);
    for (size_t i = 0; i < answers.size(); ++i) answers[i] += history.answers()[i];
  }
  for (size_t i = 0; i < answers.size(); ++i) EXPECT_GT(answers[i], 0u) << "answer " << i;
}

}  // namespace
}  // namespace fixpool::tests
