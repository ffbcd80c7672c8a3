#ifndef FIXPOOL_BENCHMARKS_SUPPORT_BENCH_SCALE_H_
#define FIXPOOL_BENCHMARKS_SUPPORT_BENCH_SCALE_H_

#include <cstdlib>
#include <string>

namespace fixpool::benchmarks {

// How much a benchmark program is to do, from its environment. Thread-safe while nobody
// changes that.
enum class BenchScale {
  kTiny,   // FIXPOOL_BENCH_TINY=1: it only has to run, as a test
  kQuick,  // neither: a part of one minute
  kFull,   // FIXPOOL_BENCH_FULL=1: everything, on as much data as makes sense
};

inline BenchScale Scale() {
  const auto is_set = [](const char* name) {
    const char* value = std::getenv(name);
    return value != nullptr && std::string(value) == "1";
  };
  if (is_set("FIXPOOL_BENCH_TINY")) return BenchScale::kTiny;
  return is_set("FIXPOOL_BENCH_FULL") ? BenchScale::kFull : BenchScale::kQuick;
}

// Where a benchmark's files belong: FIXPOOL_BENCH_DIR, or where the program was started.
inline std::string BenchDirectory() {
  const char* value = std::getenv("FIXPOOL_BENCH_DIR");
  return value != nullptr && *value != '\0' ? value : ".";
}

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_SUPPORT_BENCH_SCALE_H_
