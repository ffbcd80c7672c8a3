#ifndef FIXPOOL_TESTS_SIMULATION_SIM_RANDOM_H_
#define FIXPOOL_TESTS_SIMULATION_SIM_RANDOM_H_

#include <cstdint>
#include <cstring>
#include <span>

namespace fixpool::simulation {

// Where all decisions of one simulated life come from: a seed, or the bytes of a fuzzer.
//
//   SimRandom random(seed);
//   if (random.Chance(50)) ...                // 50 times in 1000
//
// Bytes that have come to an end are followed by what seed 0 says. SplitMix64 (Steele, Lea, Flood,
// "Fast splittable pseudorandom number generators", OOPSLA 2014). Thread-compatible.
class SimRandom {
 public:
  explicit SimRandom(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u) {}
  explicit SimRandom(std::span<const uint8_t> bytes) : state_(0), bytes_(bytes), fuzzed_(true) {}

  uint64_t Next() {
    state_ += 0x9e3779b97f4a7c15u;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // 0 to `count` - 1; 0 if there is none.
  uint64_t Below(uint64_t count) {
    if (count <= 1) return 0;
    if (!bytes_.empty()) return TakeByte(count);
    return static_cast<uint64_t>((static_cast<unsigned __int128>(Next()) * count) >> 64);
  }
  uint64_t Between(uint64_t least, uint64_t most) { return least + Below(most - least + 1); }
  bool Chance(uint32_t per_mille) { return per_mille > 0 && Below(1000) < per_mille; }

  // There were bytes, and there are no more.
  bool exhausted() const { return fuzzed_ && bytes_.empty(); }

 private:
  uint64_t TakeByte(uint64_t count) {
    uint64_t value = bytes_.front();
    bytes_ = bytes_.subspan(1);
    if (count > 256 && !bytes_.empty()) {
      value = value << 8 | bytes_.front();
      bytes_ = bytes_.subspan(1);
    }
    return value % count;
  }

  uint64_t state_;
  std::span<const uint8_t> bytes_;
  bool fuzzed_ = false;
};

}  // namespace fixpool::simulation

#endif  // FIXPOOL_TESTS_SIMULATION_SIM_RANDOM_H_
