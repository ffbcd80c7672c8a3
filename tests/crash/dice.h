#ifndef FIXPOOL_TESTS_CRASH_DICE_H_
#define FIXPOOL_TESTS_CRASH_DICE_H_

#include <cstdint>

namespace fixpool::tests {

// Numbers that follow from a seed, the same everywhere (std::uniform_int_distribution is not).
//
//   Dice dice(Dice::Mix(seed, round));
//   if (dice.Chance(0.01)) return EIO;
//
// A value: thread-compatible. Source: splitmix64 (Steele, Lea, Flood, OOPSLA 2014).
class Dice {
 public:
  explicit Dice(uint64_t seed) : state_(seed) {}

  // One seed for each pair.
  static uint64_t Mix(uint64_t seed, uint64_t number) {
    return Dice(seed ^ Dice(number).Next()).Next();
  }

  uint64_t Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31U);
  }
  // Less than `end`, which is above 0.
  uint64_t Below(uint64_t end) { return Next() % end; }
  bool Chance(double probability) {
    return static_cast<double>(Next() >> 11U) * 0x1.0p-53 < probability;
  }

 private:
  uint64_t state_;
};

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_CRASH_DICE_H_
