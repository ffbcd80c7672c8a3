#include "fixpool/storage/thread_holds.h"

#include <atomic>

namespace fixpool::storage {
namespace {

struct Holds {
  uint64_t token = 0;  // 0: not drawn yet
  int64_t guards = 0;
};

thread_local Holds holds;

// One to one, so that no two threads share a token, and mixed, so that the sums of two sets
// of tokens are equal by chance only once in 2^64.
uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace

uint64_t ThreadHolds::Token() {
  if (holds.token == 0) {
    static std::atomic<uint64_t> threads{0};
    holds.token = Mix(threads.fetch_add(1, std::memory_order_relaxed) + 1);  // Mix(0) is 0
  }
  return holds.token;
}

bool ThreadHolds::Any() { return holds.guards > 0; }

void ThreadHolds::Took() { ++holds.guards; }

void ThreadHolds::Dropped(uint64_t token) {
  if (token == holds.token) --holds.guards;
}

}  // namespace fixpool::storage
